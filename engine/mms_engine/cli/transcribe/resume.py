"""Resumption of `mms transcribe --resume`: recordings that are done are skipped."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from mms_engine.asr.options import RecognizerOptions
from mms_engine.bundle import Bundle
from mms_engine.cli.routing_options import is_auto
from mms_engine.cli.transcribe.journal import Entry, Journal, entry_of
from mms_engine.cli.transcribe.output import Output
from mms_engine.cli.transcribe.recordings import STDIN, Recording
from mms_engine.errors import LanguageError
from mms_engine.types import Transcript

_NO_EFFECT = (
    *("device", "backend", "threads", "verify", "adapter_cache_bytes"),
    *("batch_frames", "concurrent_runs", "read_ahead_seconds"),
)
"""Options that do not change a transcript."""
SHOWN_NAMES = 3


class Resume:
    """State of the recordings of one command in the folder of its outputs."""

    def __init__(
        self,
        output: Output,
        options: RecognizerOptions,
        bundle: Bundle,
        routing: Sequence[object] | None = None,
    ) -> None:
        """Read the folder's journal.

        Args:
            output: Output of the command.
            options: Options of the recogniser.
            bundle: Bundle of the recogniser.
            routing: All that an identified language depends on; `None` if none is.

        Raises:
            click.UsageError: the output is not a folder.
            OutputError: the journal cannot be read.
        """
        if not output.is_folder:
            raise click.UsageError(
                "--resume needs a folder: --output FOLDER/ (with the trailing slash)"
            )
        self._output = output
        self._options = options
        self._bundle = bundle
        self._routing = routing
        self._journal = Journal(Path(str(output.path)))
        self._digests: dict[str, str] = {}
        self._begun: dict[Path, Entry] = {}
        self.skipped = 0
        """Recordings that need not be transcribed."""

    def remaining(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Return the recordings to transcribe, and report transcripts of the user that are kept.

        Raises:
            click.UsageError: a recording is standard input.
            ClaimedError: an output is the transcript of another recording.
        """
        if any(recording.name == STDIN for recording in recordings):
            raise click.UsageError("--resume needs files: standard input cannot be read again")
        remaining, kept = [], []
        for recording in recordings:
            entry = self._entry(recording)
            state = "new" if entry is None else self._journal.state(entry)
            if state == "new":
                remaining.append(recording)
            elif state == "kept":
                kept.append(str(self._output.relative(recording)))
        self.skipped = len(recordings) - len(remaining)
        if kept:
            self._report_kept(kept)
        return remaining

    def begin(self, recording: Recording) -> None:
        """Note the state of a recording that is about to be read."""
        entry = self._entry(recording)
        if entry is not None:
            self._begun[recording.output] = entry

    def write(self, recording: Recording, transcript: Transcript) -> None:
        """Write a transcript, unless its file has become the user's meanwhile.

        Raises:
            ClaimedError: another command wrote the transcript of another recording meanwhile.
            OutputError: the file or the journal cannot be written.
        """
        entry = self._begun.pop(recording.output)
        text = self._output.render(recording, transcript)
        is_ours = self._journal.write(
            entry, text, lambda content: self._output.write_file(recording, content)
        )
        if not is_ours:
            self._report_kept([entry.output])

    def _entry(self, recording: Recording) -> Entry | None:
        """Return the entry of a recording as it is now; `None` if it is missing."""
        output, source = self._output.relative(recording), Path(recording.name)
        try:
            return entry_of(output, source, self._digest(str(recording.language)))
        except (OSError, ValueError):  # reported when it is read
            return None

    def _digest(self, language: str) -> str:
        if language not in self._digests:
            self._digests[language] = options_digest(
                self._options,
                self._bundle,
                language,
                self._output.format_name,
                self._routing if is_auto(language) else None,
            )
        return self._digests[language]

    def _report_kept(self, names: Sequence[str]) -> None:
        count = f"{len(names)} transcript{'' if len(names) == 1 else 's'}"
        click.echo(
            f"Kept {count} that --resume did not write, or that changed since: "
            f"{first_names(names)}. Delete a transcript to have it made again",
            err=True,
        )


def options_digest(
    options: RecognizerOptions,
    bundle: Bundle,
    language: str,
    format_name: str,
    routing: Sequence[object] | None = None,
) -> str:
    """Return a digest of all that a transcript depends on besides the recording.

    These are the options, size and time of the language model and the list of words, and the
    model's weights; with `routing`, all adapters.
    """
    fields: dict[str, Any] = dataclasses.asdict(options)
    for name in _NO_EFFECT:
        del fields[name]
    for name in ("lm", "words"):
        file = getattr(options.beam, name, None)
        if isinstance(file, str | Path):
            status = Path(file).stat()
            fields["beam"][name] = [status.st_size, status.st_mtime_ns]
    try:
        adapter = bundle.entry(language).file.sha256
    except LanguageError:  # reported when the recording is read
        adapter = ""
    weights = [bundle.manifest.source.fingerprint, adapter]
    parts: list[object] = [fields, weights, language, format_name]
    if routing is not None:
        parts += [routing, [bundle.entry(code).file.sha256 for code in bundle.languages]]
    content = msgspec.json.encode(parts, order="sorted")
    return hashlib.sha256(content).hexdigest()


def first_names(names: Sequence[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
