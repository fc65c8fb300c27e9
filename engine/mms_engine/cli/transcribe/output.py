"""Output of transcripts: standard output, one file, or a folder with one file each."""

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from types import TracebackType
from typing import IO, Self

import click

from mms_engine.cli.program import report_incomplete
from mms_engine.cli.transcribe.recordings import STDIN, Recording
from mms_engine.formats import FORMATS, check_installed, render
from mms_engine.formats.output import InputFiles, check_output, open_output
from mms_engine.types import Transcript

_SEVERAL_IN_ONE = frozenset({"text", "json", "ctm"})


class Output:
    """Destination of the transcripts of one command; a context manager.

    One file is written when the first transcript is ready, and replaced as a whole at the end. With
    several recordings, the transcripts that are finished when the command ends early are kept in a
    file beside it. A device or fifo gets each transcript as soon as it is ready.
    """

    def __init__(self, format_name: str, path: str | None, *, several: bool) -> None:
        """Describe an output.

        Args:
            format_name: A key of `FORMATS`.
            path: File or folder; `None` or `-` for standard output.
            several: Whether there is more than one recording.
        """
        self.format_name = format_name
        self.path = path
        self.several = several
        self._inputs = InputFiles(())
        self._open = contextlib.ExitStack()
        self._stream: IO[str] | None = None

    def __enter__(self) -> Self:
        """Return the output."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the output file; after an error, drop it, or name the incomplete file."""
        partial = None if self._stream is None else self._stream.name
        self._open.__exit__(kind, error, traceback)
        if isinstance(partial, str) and Path(partial).exists():  # not the number of a descriptor
            report_incomplete(partial)

    @property
    def is_stdout(self) -> bool:
        """Whether transcripts go to standard output."""
        return self.path in (None, STDIN)

    @property
    def is_folder(self) -> bool:
        """Whether each recording has its own file."""
        if self.path is None or self.is_stdout:
            return False
        # Unlike `Path`, it takes the empty path, and one that is too long, for no folder.
        is_dir = os.path.isdir(self.path)  # noqa: PTH112
        return is_dir or self.path.endswith(("/", os.sep))

    def check(self, recordings: Sequence[Recording], tables: Iterable[Path]) -> None:
        """Check that no transcript overwrites another, or an input, before any is computed.

        Args:
            recordings: Recordings to transcribe.
            tables: Other files that the command reads.

        Raises:
            click.UsageError: two recordings share an output file, or a format needs a folder.
            OutputError: a file cannot be written, or is an input.
        """
        check_installed(self.format_name)
        sources = [0 if recording.name == STDIN else recording.name for recording in recordings]
        self._inputs = InputFiles([*sources, *tables])
        if not self.is_folder:
            if self.several and self.format_name not in _SEVERAL_IN_ONE:
                raise click.UsageError(
                    f"--format {self.format_name} with several recordings needs a folder: "
                    "--output FOLDER/ (with the trailing slash)"
                )
            if not self.is_stdout:
                check_output(str(self.path), inputs=self._inputs)
            return
        self._check_collisions(recordings)
        for recording in recordings:
            check_output(self.file(recording), inputs=self._inputs)

    def _check_collisions(self, recordings: Sequence[Recording]) -> None:
        taken: dict[str, Recording] = {}
        for recording in recordings:
            # Many file systems ignore case and the composition of characters.
            key = unicodedata.normalize("NFC", str(self.relative(recording))).casefold()
            other = taken.setdefault(key, recording)
            if other is not recording:
                path, same = self.file(recording), self.file(other)
                where = str(path) if path == same else f"{same} and {path}, the same name in places"
                raise click.UsageError(
                    f"{other.name} and {recording.name} would both be written to {where}: rename "
                    "one, or transcribe them into separate folders"
                )
        for key, recording in taken.items():
            for folder in PurePath(key).parents:
                if above := taken.get(str(folder)):
                    raise click.UsageError(
                        f"{self.file(above)}, the transcript of {above.name}, would be a folder of "
                        f"that of {recording.name}: rename one of them"
                    )

    def write(self, recording: Recording, transcript: Transcript) -> None:
        """Write one transcript.

        Raises:
            OutputError: the file cannot be written.
        """
        text = self.render(recording, transcript)
        if self.several and not self.is_folder and self.format_name == "text":
            text = f"{recording.name}\t{text}"
        if self.is_stdout:
            sys.stdout.write(text)
            sys.stdout.flush()
        elif self.is_folder:
            self.write_file(recording, text)
        else:
            if self._stream is None:
                opened = open_output(str(self.path), inputs=self._inputs, keep=self.several)
                self._stream = self._open.enter_context(opened)
            self._stream.write(text)
            self._stream.flush()

    def render(self, recording: Recording, transcript: Transcript) -> str:
        """Return the content of a recording's own file."""
        name = recording.name if self.format_name == "json" else recording.output.name
        media = "" if recording.name == STDIN else recording.name
        return render(transcript, name, format_name=self.format_name, media=media)

    def write_file(self, recording: Recording, text: str) -> None:
        """Write the file of a recording in the folder.

        Raises:
            OutputError: the file cannot be written.
        """
        with open_output(self.file(recording), inputs=self._inputs) as stream:
            stream.write(text)

    def relative(self, recording: Recording) -> Path:
        """Return the path of a recording's file in the folder."""
        return recording.output.with_name(recording.output.name + FORMATS[self.format_name].suffix)

    def file(self, recording: Recording) -> Path:
        """Return the path of a recording's file."""
        return Path(str(self.path)) / self.relative(recording)
