"""Options that `mms align` and `mms segment` share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from mms_engine.cli.audio_options import AudioChoice
from mms_engine.cli.options import grouped
from mms_engine.cli.program import FiniteFloat, section
from mms_engine.types import NumberPolicy, Stars, TextUnit

if TYPE_CHECKING:
    from mms_engine.align.options import AlignerOptions
    from mms_engine.backends.options import RunOptions

_input, _text = section("Input"), section("Alignment")

lang_option = _input(
    "--lang",
    metavar="CODE",
    help="Language of the text, such as eng; listed by mms languages. Optional if the bundle has "
    "only one, or the table names it.",
)
list_option = _input(
    "--list",
    "table",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="TSV",
    help="Table of pairs instead of AUDIO and TEXT, with the columns file, lang and either "
    "text_file or text. Paths are relative to the table.",
)

_OPTIONS = (
    _text(
        "--split",
        type=click.Choice(get_args(TextUnit)),
        default="line",
        show_default=True,
        help="Units of the text that get times of their own beside the words.",
    ),
    _text(
        "--numbers",
        type=click.Choice(get_args(NumberPolicy)),
        default="words",
        show_default=True,
        help="Numbers in digits: read out in words where the language's rules are known, or "
        "matched with any sound (star).",
    ),
    _text(
        "--stars",
        type=click.Choice(get_args(Stars)),
        default="edges",
        show_default=True,
        help="Places where the recording may hold speech that the text lacks.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentChoice:
    """Treatment of the text, as given on the command line."""

    split: TextUnit
    numbers: NumberPolicy
    stars: Stars

    def options(self, audio: AudioChoice, engine: "RunOptions", **more: Any) -> "AlignerOptions":  # noqa: ANN401
        """Return the options of the aligner."""
        import dataclasses

        from mms_engine.align.options import AlignerOptions

        return AlignerOptions(
            **dataclasses.asdict(engine),
            split=self.split,
            numbers=self.numbers,
            stars=self.stars,
            allow_truncated=audio.allow_truncated,
            track=audio.track,
            channel=audio.channel,
            **more,
        )


alignment_options = grouped("alignment", AlignmentChoice, _OPTIONS)
"""Adds the options of `AlignmentChoice` as the argument `alignment`."""

min_trusted_option = _text(
    "--min-trusted",
    type=FiniteFloat(min=0, max=1),
    metavar="SHARE",
    default=0.0,
    show_default=True,
    help="Share of words that the recording must confirm, 0 to 1; below it the exit status is 3. "
    "The output is written in any case.",
)
