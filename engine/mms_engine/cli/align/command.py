"""Command `mms align`."""

from pathlib import Path
from typing import Any, get_args

import click

from mms_engine.cli.align.options import (
    alignment_options,
    lang_option,
    list_option,
    min_trusted_option,
)
from mms_engine.cli.audio_options import audio_options
from mms_engine.cli.options import bundle_option, engine_options
from mms_engine.cli.program import FiniteFloat, SectionedCommand, interruptible, section
from mms_engine.formats import ALIGNMENT_FORMATS
from mms_engine.types import WordTimes

_EXAMPLES = """\b
Examples:
  mms align talk.flac talk.txt --lang eng
  mms align story.wav story.txt --lang swh --format textgrid --output story.TextGrid
  mms align --list pairs.tsv --format eaf --output aligned/
  mms align book.mp3 book.txt --lang spa --min-trusted 0.9 --plot book.svg --output book.json
"""
_output = section("Output")


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@click.argument("files", nargs=-1, metavar="AUDIO TEXT")
@lang_option
@list_option
@audio_options
@alignment_options
@min_trusted_option
@_output(
    "--times",
    type=click.Choice(get_args(WordTimes)),
    default="spoken",
    show_default=True,
    help="Times of the words: with the end of their last sound, of their own letters only, or with "
    "the gaps between words shared.",
)
@_output(
    "--padding",
    type=FiniteFloat(min=0),
    metavar="SECONDS",
    default=0.0,
    show_default=True,
    help="Time added before and after each word, at most up to the middle of the gap.",
)
@_output(
    "--format",
    "format_name",
    type=click.Choice(tuple(ALIGNMENT_FORMATS)),
    default="json",
    show_default=True,
    help="Format of the alignments.",
)
@_output(
    "--output",
    "-o",
    metavar="FILE|FOLDER/",
    help="Output file, or folder (with a trailing slash) for one file per recording.  [default: "
    "standard output]",
)
@_output(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="SVG",
    help="Picture of waveform and words, in rows of 30 s; one recording only.",
)
@bundle_option
@engine_options
def align(**values: Any) -> None:  # noqa: ANN401
    """Find the times of a text's words in a recording.

    AUDIO is an audio or video file of any length, TEXT a UTF-8 text file; one of them may be - for
    standard input. Passages where they differ are listed on standard error.
    """
    from mms_engine.cli.align.run import AlignRequest, run

    request = AlignRequest(**values)
    interruptible(lambda: run(request))
