"""Execution of `mms align`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from mms_engine.align.aligner import Aligner
from mms_engine.audio.sources import Recording
from mms_engine.backends.options import RunOptions
from mms_engine.bundle import open_bundle
from mms_engine.cli.align.options import AlignmentChoice
from mms_engine.cli.align.pairs import Pair, pairs_of, with_language
from mms_engine.cli.align.report import report
from mms_engine.cli.audio_options import AudioChoice
from mms_engine.cli.options import find_bundle
from mms_engine.cli.program import one_line
from mms_engine.cli.progress import Bar, open_with_bar
from mms_engine.cli.transcribe.recordings import STDIN
from mms_engine.errors import MmsError
from mms_engine.formats import ALIGNMENT_FORMATS, check_installed, render_alignment
from mms_engine.formats.output import InputFiles, check_output, open_output
from mms_engine.formats.plot import alignment_svg, peaks
from mms_engine.types import Alignment, WordTimes

UNTRUSTED = 3
"""Exit status when too few words are trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignRequest:
    """Arguments of the command line."""

    files: tuple[str, ...]
    table: Path | None
    lang: str | None
    bundle: Path | None
    audio: AudioChoice
    alignment: AlignmentChoice
    min_trusted: float
    times: WordTimes
    padding: float
    format_name: str
    output: str | None
    plot: Path | None
    engine: RunOptions


class _Output:
    """Destination of the alignments: standard output, one file, or a folder."""

    def __init__(self, request: AlignRequest, pairs: Sequence[Pair]) -> None:
        """Check that everything can be written, before anything is computed.

        Raises:
            click.UsageError: several recordings do not go to one file, or share a file.
            OutputError: a file cannot be written, or is an input.
        """
        check_installed(request.format_name)
        self._format = request.format_name
        self._path = None if request.output == STDIN else request.output
        self._is_folder = self._path is not None and (
            Path(self._path).is_dir() or self._path.endswith(("/", os.sep))
        )
        sources = [0 if pair.name == STDIN else pair.name for pair in pairs]
        texts = [str(pair.text_file) for pair in pairs if pair.text_file is not None]
        tables = [str(request.table)] if request.table else []
        self.inputs = InputFiles([*sources, *texts, *tables])
        if len(pairs) > 1 and not self._is_folder and (self._path or self._format != "json"):
            raise click.UsageError("--list needs --output FOLDER/, or --format json to stdout")
        taken: dict[Path, str] = {}
        for pair in pairs:
            path = self._file(pair)
            if path is None:
                continue
            if path in taken:
                raise click.UsageError(
                    f"{taken[path]} and {pair.name} would both be written to {path}: "
                    "align them with separate commands"
                )
            taken[path] = pair.name
            check_output(path, inputs=self.inputs)

    def write(self, pair: Pair, alignment: Alignment) -> None:
        """Write one alignment.

        Raises:
            OutputError: the file cannot be written.
        """
        media = "" if pair.name == STDIN else pair.name
        name = pair.name if self._format == "json" else pair.output.name
        text = render_alignment(alignment, name, format_name=self._format, media=media)
        path = self._file(pair)
        if path is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            with open_output(path, inputs=self.inputs) as stream:
                stream.write(text)

    def _file(self, pair: Pair) -> Path | None:
        if self._path is None:
            return None
        if not self._is_folder:
            return Path(self._path)
        suffix = ALIGNMENT_FORMATS[self._format].suffix
        return Path(self._path) / pair.output.with_name(pair.output.name + suffix)


def run(request: AlignRequest) -> None:
    """Align, and write the alignments.

    Raises:
        click.UsageError: the arguments contradict each other.
        MmsError: the engine cannot be opened, or the only recording failed.
        click.ClickException: some of several recordings failed; each was reported.
        click.exceptions.Exit: too few words are trusted.
    """
    pairs = pairs_of(request.files, request.table, request.lang)
    output = _Output(request, pairs)
    if request.plot is not None:
        if len(pairs) > 1 or pairs[0].name == STDIN:
            raise click.UsageError("--plot is for one recording, named by its file")
        check_output(request.plot, inputs=output.inputs)
    bundle = open_bundle(find_bundle(request.bundle), verify=request.engine.verify)
    pairs = [with_language(pair, bundle) for pair in pairs]
    options = request.alignment.options(
        request.audio, request.engine, times=request.times, padding_seconds=request.padding
    )
    limits = request.audio.limits()
    failed, untrusted = 0, 0
    opened = open_with_bar(
        bundle.path, lambda: Aligner.open(bundle.path, options=options, limits=limits)
    )
    with opened as aligner, Bar() as bar:
        for pair in pairs:
            try:
                text = pair.read_text()
                alignment = aligner.align(
                    pair.source, text, str(pair.language), progress=bar.advance
                )
            except MmsError as error:
                if len(pairs) == 1:
                    raise
                failed += 1
                with bar.paused():
                    click.echo(f"Error: {pair.name}: {one_line(error)}", err=True)
                continue
            with bar.paused():
                output.write(pair, alignment)
                report(pair.name, alignment)
            untrusted += alignment.trusted_share < request.min_trusted
            if request.plot is not None:
                _plot(request, pair, alignment, output.inputs)
    if failed:
        raise click.ClickException(f"{failed} of {len(pairs)} recordings failed")
    if untrusted:
        share = f"fewer than {request.min_trusted:.0%} of the words are trusted"
        where = pairs[0].name if len(pairs) == 1 else f"{untrusted} of {len(pairs)} recordings"
        click.echo(f"Error: {where}: {share}", err=True)
        raise click.exceptions.Exit(UNTRUSTED)


def _plot(request: AlignRequest, pair: Pair, alignment: Alignment, inputs: InputFiles) -> None:
    recording = Recording(Path(pair.name), 16_000, options=request.audio.reading())
    picture = alignment_svg(alignment, peaks(recording, 16_000), Path(pair.name).name)
    with open_output(str(request.plot), inputs=inputs) as stream:
        stream.write(picture)
