"""Options of `mms-train` for the corpus: what is read of it, and how its texts are written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mms_engine.cli.options import grouped
from mms_engine.cli.program import FiniteFloat, section
from mms_export.cli.plan_options import split_list
from mms_export.training.corpus.registry import FORMATS

if TYPE_CHECKING:
    from mms_export.training.report import Report

_corpus = section("Corpus")
_texts = section("Texts")


def _pairs(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Parse pairs such as `sch=sh`."""
    pairs = []
    for text in value:
        old, equals, new = text.partition("=")
        if not old or not equals:
            raise click.BadParameter(f"{text!r} is not of the form OLD=NEW", ctx, param)
        pairs.append((old, new))
    return tuple(pairs)


def _letters(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    return () if value is None else tuple(split_list(ctx, param, value))


def _svg(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() != ".svg":
        raise click.BadParameter(f"{value} must end in .svg, which is its format", ctx, param)
    return value


_OPTIONS = (
    _corpus(
        "--format",
        "format_name",
        type=click.Choice(list(FORMATS)),
        help="Format of the corpus.  [default: by the names of its files]",
    ),
    _corpus(
        "--tier",
        "tiers",
        metavar="NAME",
        multiple=True,
        help="Tier of ELAN or Praat documents to read, by its name, type or participant; may be "
        "repeated.  [default: the only one with text]",
    ),
    _corpus(
        "--media",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        metavar="FOLDER",
        multiple=True,
        help="Folder in which, at any depth, the recordings of ELAN or Praat documents are looked "
        "for, besides the documents' own; may be repeated.",
    ),
    _corpus(
        "--text-column",
        metavar="NAME",
        default="",
        help="Column of a table, or field of a manifest, with the text.  [default: text, sentence, "
        "transcription or transcript]",
    ),
    _corpus(
        "--min-clip-seconds",
        "min_seconds",
        type=FiniteFloat(min=0),
        metavar="SECONDS",
        default=0.3,
        show_default=True,
        help="Shortest clip to train on.",
    ),
    _corpus(
        "--max-clip-seconds",
        "max_seconds",
        type=FiniteFloat(min=0, min_open=True, max=60),
        metavar="SECONDS",
        default=20.0,
        show_default=True,
        help="Longest clip to train on, at most 60; memory grows with it.",
    ),
    _corpus(
        "--held-out",
        "share",
        type=FiniteFloat(min=0, min_open=True, max=0.5),
        metavar="SHARE",
        default=0.1,
        show_default=True,
        help="Share of the clips that measure the training, 0 to 0.5: those of speakers drawn by "
        "the seed, unless the corpus names its own.",
    ),
    _corpus(
        "--picture",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        callback=_svg,
        help="Also draw the report, as an SVG file: durations, speakers and letters.",
    ),
    _texts(
        "--map",
        "replacements",
        metavar="OLD=NEW",
        multiple=True,
        callback=_pairs,
        help="Characters of the texts to write otherwise, before anything else; nothing behind the "
        "sign drops them. May be repeated.",
    ),
    _texts(
        "--drop-notes",
        is_flag=True,
        help="Drop transcribers' notes, such as [laughs], <noise>, {...} and xxx. Otherwise clips "
        "that have some are left out.",
    ),
    _texts(
        "--as-written",
        is_flag=True,
        help="Keep capital letters and punctuation, for the model to write them too.",
    ),
    _texts(
        "--letters",
        metavar="LIST",
        callback=_letters,
        help="Letters of several characters, such as ng,sh, which become one token each.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusChoice:
    """Values of the options."""

    format_name: str | None
    tiers: tuple[str, ...]
    media: tuple[Path, ...]
    text_column: str
    min_seconds: float
    max_seconds: float
    share: float
    picture: Path | None
    replacements: tuple[tuple[str, str], ...]
    drop_notes: bool
    as_written: bool
    letters: tuple[str, ...]

    def examine(
        self, path: Path, language: str, *, seed: int, progress: Callable[[int, int], object]
    ) -> "Report":
        """Read a corpus and return its report; see `read_corpus` and `examine`.

        Args:
            path: The corpus.
            language: Code of the language.
            seed: Number of the draw of the held-out speakers.
            progress: Called with the number of clips newly examined, and that of all.

        Raises:
            MmsError: the corpus cannot be read, or holds no clip.
        """
        from mms_export.training.corpus.media import Recordings
        from mms_export.training.corpus.reading import ReadingOptions
        from mms_export.training.corpus.registry import read_corpus
        from mms_export.training.examine import ClipLimits, examine
        from mms_export.training.texts import TextRules

        reading = ReadingOptions(
            tiers=self.tiers,
            recordings=Recordings(self.media),
            text_column=self.text_column,
            language=language,
        )
        corpus = read_corpus(path, format_name=self.format_name, options=reading)
        rules = TextRules(
            language=language,
            replacements=self.replacements,
            drop_notes=self.drop_notes,
            normalized=not self.as_written,
        )
        limits = ClipLimits(min_seconds=self.min_seconds, max_seconds=self.max_seconds)
        return examine(
            corpus,
            rules,
            letters=self.letters,
            limits=limits,
            share=self.share,
            seed=seed,
            progress=lambda count: progress(count, len(corpus.clips)),
        )

    def draw(self, report: "Report") -> None:
        """Write the picture of a report, if there is to be one.

        Raises:
            OutputError: it cannot be written, or would replace a file of the corpus.
        """
        if self.picture is None:
            return
        from mms_engine.formats.output import InputFiles, open_output
        from mms_export.training.picture import report_svg

        read = [example.clip.audio for example in (*report.train, *report.held_out)]
        with open_output(self.picture, inputs=InputFiles([report.path, *read])) as stream:
            stream.write(report_svg(report))


corpus_options = grouped("choice", CorpusChoice, _OPTIONS)
"""Adds the options as the argument `choice`."""
