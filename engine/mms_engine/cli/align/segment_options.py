"""Options of the clips of `mms segment`."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import click

from mms_engine.cli.options import grouped
from mms_engine.cli.program import FiniteFloat, section
from mms_engine.types import SegmentUnit

if TYPE_CHECKING:
    from mms_engine.align.segments import SegmentOptions

_clips = section("Clips")
_SIZES = (
    _clips(
        "--unit",
        type=click.Choice(get_args(SegmentUnit)),
        default="line",
        show_default=True,
        help="Content of a clip: a line of the text (or a sentence, with --split sentence), or the "
        "speech between two pauses.",
    ),
    _clips(
        "--max-clip-seconds",
        type=FiniteFloat(min=0, min_open=True),
        metavar="SECONDS",
        default=20.0,
        show_default=True,
        help="Longest clip; longer ones are divided at their longest gaps between words.",
    ),
    _clips(
        "--pause",
        "pause_seconds",
        type=FiniteFloat(min=0, min_open=True),
        metavar="SECONDS",
        default=0.4,
        show_default=True,
        help="Gap between words that is a pause, for --unit pause.",
    ),
    _clips(
        "--padding",
        "padding_seconds",
        type=FiniteFloat(min=0),
        metavar="SECONDS",
        default=0.2,
        show_default=True,
        help="Sound kept before and after the words, at most up to the middle of the gap.",
    ),
    _clips(
        "--min-score",
        type=FiniteFloat(min=0, max=1),
        metavar="SCORE",
        default=0.0,
        show_default=True,
        help="Lowest mean score of a clip's words, 0 to 1; lower ones are rejected.",
    ),
    _clips(
        "--min-trusted",
        type=FiniteFloat(min=0, max=1),
        metavar="SHARE",
        default=0.8,
        show_default=True,
        help="Lowest share of a clip's words that the sound confirms, 0 to 1; lower ones are "
        "rejected.",
    ),
    _clips(
        "--characters-per-second",
        type=(FiniteFloat(min=0), FiniteFloat(min=0)),
        metavar="LOW HIGH",
        default=(2.0, 30.0),
        show_default=True,
        help="Rates of speech of a clip; those outside are rejected.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentChoice:
    """Sizes and limits of the clips, as given on the command line."""

    unit: SegmentUnit
    max_clip_seconds: float
    pause_seconds: float
    padding_seconds: float
    min_score: float
    min_trusted: float
    characters_per_second: tuple[float, float]

    def options(self) -> "SegmentOptions":
        """Return the options of the segments.

        Raises:
            click.UsageError: they contradict each other.
        """
        from mms_engine.align.segments import SegmentOptions

        try:
            fields = dataclasses.asdict(self)
            return SegmentOptions(max_seconds=fields.pop("max_clip_seconds"), **fields)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


segment_options = grouped("sizes", SegmentChoice, _SIZES)
"""Adds the options of `SegmentChoice` as the argument `sizes`."""
