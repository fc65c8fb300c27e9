"""Execution of `mms segment`: clips and manifests of a corpus."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from mms_engine.align.aligner import Aligner
from mms_engine.align.options import AlignerOptions
from mms_engine.align.segments import Segment, cut, segments
from mms_engine.audio.sources import Recording
from mms_engine.audio.write import encode_audio
from mms_engine.backends.options import RunOptions
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import UROMAN_LANGUAGE, Wav2Vec2Ctc
from mms_engine.cli.align.options import AlignmentChoice
from mms_engine.cli.align.pairs import Pair, pairs_of, with_language
from mms_engine.cli.align.segment_options import SegmentChoice
from mms_engine.cli.audio_options import AudioChoice
from mms_engine.cli.options import find_bundle
from mms_engine.cli.program import one_line
from mms_engine.cli.progress import Bar, open_with_bar
from mms_engine.cli.transcribe.journal import Entry, Journal, entry_of
from mms_engine.cli.transcribe.recordings import STDIN
from mms_engine.errors import MmsError, OutputError
from mms_engine.formats.output import InputFiles, leftovers, open_output
from mms_engine.text.aligned import AlignedText
from mms_engine.text.normalization import normalize
from mms_engine.types import Alignment, ClipFormat

_PART = "segments.jsonl"
"""Manifest of one recording, in the folder of its clips, rejected segments included."""
_HOUR = 3600.0

Row = dict[str, Any]
"""Line of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRequest:
    """Arguments of the command line."""

    files: tuple[str, ...]
    table: Path | None
    lang: str | None
    bundle: Path | None
    audio: AudioChoice
    alignment: AlignmentChoice
    sizes: SegmentChoice
    out: Path
    file_format: ClipFormat
    resume: bool
    jobs: int
    engine: RunOptions


def run(request: SegmentRequest) -> None:
    """Align recordings, cut them into clips, and write the manifests.

    Raises:
        click.UsageError: the arguments contradict each other.
        MmsError: the engine cannot be opened, or the only recording failed.
        click.ClickException: some of several recordings failed; each was reported.
    """
    pairs = pairs_of(request.files, request.table, request.lang)
    _check(pairs)
    bundle = open_bundle(find_bundle(request.bundle), verify=request.engine.verify)
    pairs = [with_language(pair, bundle) for pair in pairs]
    options = request.alignment.options(request.audio, request.engine)
    corpus = _Corpus(request, options, bundle, pairs)
    todo = [pair for pair in pairs if not corpus.is_done(pair)]
    failed = 0
    limits = request.audio.limits()
    opened = open_with_bar(
        bundle.path, lambda: Aligner.open(bundle.path, options=options, limits=limits)
    )
    with opened as aligner, Bar() as bar:

        def work(pair: Pair) -> MmsError | None:
            try:
                text = pair.read_text()
                entry = corpus.entry(pair, text)
                alignment = aligner.align(
                    pair.source, text, str(pair.language), progress=bar.advance
                )
                corpus.write(pair, entry, alignment)
            except MmsError as error:
                return error
            return None

        with ThreadPoolExecutor(request.jobs) as workers:
            for pair, error in zip(todo, workers.map(work, todo), strict=True):
                if error is None:
                    continue
                if len(pairs) == 1:
                    raise error
                failed += 1
                with bar.paused():
                    click.echo(f"Error: {pair.name}: {one_line(error)}", err=True)
    summary = corpus.finish()
    skipped = f", {len(pairs) - len(todo)} recordings skipped" if len(todo) < len(pairs) else ""
    click.echo(f"{summary}{skipped}", err=True)
    if failed:
        raise click.ClickException(f"{failed} of {len(pairs)} recordings failed")


def _check(pairs: Sequence[Pair]) -> None:
    taken: dict[Path, str] = {}
    for pair in pairs:
        if pair.name == STDIN:
            raise click.UsageError("AUDIO must be a file: it is read twice")
        if pair.output in taken:
            raise click.UsageError(
                f"{taken[pair.output]} and {pair.name} would both have the clips "
                f"{pair.output}/: segment them with separate commands"
            )
        taken[pair.output] = pair.name


class _Corpus:
    """Folder of clips and manifests."""

    def __init__(
        self,
        request: SegmentRequest,
        options: AlignerOptions,
        bundle: Bundle,
        pairs: Sequence[Pair],
    ) -> None:
        self._request = request
        self._sizes = request.sizes.options()
        self._options = options
        self._bundle = bundle
        self._journal = Journal(request.out)
        self._rate = bundle.manifest.sample_rate
        texts = [str(pair.text_file) for pair in pairs if pair.text_file is not None]
        self._inputs = InputFiles([*(pair.name for pair in pairs), *texts])

    def entry(self, pair: Pair, text: str) -> Entry:
        """Return the journal's entry of a recording as it is now, and of its text."""
        fields = dataclasses.asdict(self._options)
        for name in ("device", "backend", "threads", "verify", "batch_frames"):
            del fields[name]
        manifest = self._bundle.manifest
        language = str(pair.language)
        is_romanized = self._bundle.model(Wav2Vec2Ctc).text == "uroman"
        weights = self._bundle.entry(UROMAN_LANGUAGE if is_romanized else language)
        content = [
            fields,
            dataclasses.asdict(self._sizes),
            self._request.file_format,
            [manifest.source.fingerprint, weights.file.sha256, language],
            hashlib.sha256(text.encode()).hexdigest(),
        ]
        digest = hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
        return entry_of(pair.output / _PART, Path(pair.name), digest)

    def is_done(self, pair: Pair) -> bool:
        """Return whether all clips of a recording are there, made with the same options."""
        # Standard input can be read only once, by the alignment.
        if not self._request.resume or str(pair.text_file) == STDIN:
            return False
        try:
            if self._journal.state(self.entry(pair, pair.read_text())) != "done":
                return False
        except (OSError, MmsError):  # reported when it is read
            return False
        rows = _rows(self._request.out / pair.output / _PART)
        names = [row["file_name"] for row in rows if row["file_name"]]
        return all((self._request.out / name).is_file() for name in names)

    def write(self, pair: Pair, entry: Entry, alignment: Alignment) -> None:
        """Write the clips of a recording, then its part of the manifest.

        Raises:
            MmsError: a file cannot be written, or the part was changed by the user.
        """
        part = self._request.out / entry.output
        if self._journal.state(entry) == "kept":
            raise OutputError(
                f"{part} was changed since mms segment wrote it: choose another --out folder, or "
                "delete it to write it and its clips again"
            )
        earlier = {row["file_name"] for row in _rows(part)} if part.exists() else set()
        rows = self._write_clips(pair, alignment)
        self._journal.write(entry, _lines(rows), lambda text: self._write(entry.output, text))
        for name in earlier - {row["file_name"] for row in rows}:
            (self._request.out / name).unlink(missing_ok=True)

    def _write_clips(self, pair: Pair, alignment: Alignment) -> list[Row]:
        """Write the clips of a recording; return the rows of all its segments."""
        parts = segments(alignment, self._sizes)
        recording = Recording(Path(pair.name), self._rate, options=self._request.audio.reading())
        clips = cut(recording, self._rate, [part for part in parts if part.rejected is None])
        rows: list[Row] = []
        for number, part in enumerate(parts, 1):
            if part.rejected is not None:
                rows.append(_row(part, "", part.end - part.start, pair))
                continue
            samples = next(clips)
            clip = f"{pair.output.name}-{number:04}.{self._request.file_format}"
            name = (pair.output / clip).as_posix()
            path = self._request.out / name
            if self._request.resume:  # of a killed run
                for leftover in leftovers([path]):
                    leftover.unlink(missing_ok=True)
            with open_output(path, inputs=self._inputs, binary=True) as stream:
                stream.write(encode_audio(samples, self._rate, self._request.file_format))
            rows.append(_row(part, name, samples.size / self._rate, pair))
        return rows

    def finish(self) -> str:
        """Write the manifests from the parts of all recordings in the folder; return a summary."""
        rows = [row for part in sorted(self._request.out.rglob(_PART)) for row in _rows(part)]
        accepted = [row for row in rows if row["file_name"]]
        rejected = [row for row in rows if not row["file_name"]]
        self._write("manifest.jsonl", _lines(accepted, without=("rejected",)))
        self._write("rejected.jsonl", _lines(rejected, without=("file_name", "audio_filepath")))
        seconds = sum(row["duration"] for row in accepted)
        length = f"{seconds / 3600:.1f} h" if seconds >= _HOUR else f"{seconds / 60:.1f} min"
        return f"{len(accepted)} clips, {length}; {len(rejected)} segments rejected"

    def _write(self, name: str, text: str) -> None:
        with open_output(self._request.out / name, inputs=self._inputs) as stream:
            stream.write(text)


def _row(part: Segment, name: str, duration: float, pair: Pair) -> Row:
    language = str(pair.language)
    return {
        "file_name": name,
        "audio_filepath": name,
        "text": part.text,
        "normalized_text": normalize(AlignedText.from_source(part.text), language).text,
        "source": pair.name,
        "start": round(part.start, 4),
        "duration": round(duration, 4),
        "score": round(part.score, 4),
        "trusted": round(part.trusted_share, 4),
        "lang": language,
        "rejected": part.rejected or "",
    }


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _lines(rows: Sequence[Row], without: Collection[str] = ()) -> str:
    kept = [{key: value for key, value in row.items() if key not in without} for row in rows]
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in kept)
    # Bytes of a name that are not UTF-8 become escapes of JSON, from which Python opens the file.
    return lines.encode("utf-8", "backslashreplace").decode()
