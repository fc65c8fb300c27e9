"""Decoding options: greedy or beam search, language model and hotwords."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from mms_engine.cli.options import grouped
from mms_engine.cli.program import FiniteFloat, section
from mms_engine.errors import LanguageModelError
from mms_engine.types import LmUnit

if TYPE_CHECKING:
    from mms_engine.decoding.options import BeamSearch, LexiconSearch

DecoderName = Literal["greedy", "beam"]
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_beam = section("Beam search (with --decoder beam or --zero-shot)")
_OPTIONS = (
    section("Decoding")(
        "--decoder",
        type=click.Choice(get_args(DecoderName)),
        default="greedy",
        show_default=True,
        help="Decoding algorithm: the most likely token of each frame, or prefix beam search.",
    ),
    _beam(
        "--beam-size",
        type=click.IntRange(1, 65_536),
        metavar="N",
        help="Hypotheses kept after each frame.  [default: 50; with --zero-shot 500]",
    ),
    _beam(
        "--nbest",
        type=click.IntRange(min=1),
        metavar="N",
        help="Distinct texts listed as alternatives in the JSON output.  [default: 1]",
    ),
    _beam(
        "--lm",
        type=click.Path(path_type=Path, exists=True),
        metavar="FILE|FOLDER",
        help="N-gram language model: ARPA (plain or compressed), the output of mms lm convert, or "
        "a KenLM binary. All audio must be in the language of a file; in a folder, the file of "
        "each language is named for it, such as eng.arpa.gz.",
    ),
    _beam(
        "--lm-unit",
        type=click.Choice(get_args(LmUnit)),
        help="Unit of the model's n-grams; auto is words if the language separates words, else "
        "tokens.  [default: auto]",
    ),
    _beam(
        "--lm-weight",
        type=FiniteFloat(),
        metavar="NATS",
        help="Multiplier of the model's log10 probability.  [default: 1; with --zero-shot 1.48]",
    ),
    _beam(
        "--word-score",
        type=FiniteFloat(),
        metavar="NATS",
        help="Score added per word (or token, see --lm-unit).  [default: 2 with an --lm of words, "
        "else 0; with --zero-shot -0.18 with an --lm, else -3.5]",
    ),
    _beam(
        "--hotwords",
        type=_FILE,
        metavar="FILE",
        help="Phrases to favour, one per line, each optionally followed by a tab and its weight in "
        "nats.",
    ),
    _beam(
        "--hotword-weight",
        type=FiniteFloat(),
        metavar="NATS",
        help="Weight of hotwords that have none of their own.  [default: 5]",
    ),
    _beam(
        "--strict",
        is_flag=True,
        default=None,
        help="Refusal of hotwords that cannot be used, instead of a warning.",
    ),
)
_WITH_WORDS = ("beam_size", "nbest", "lm", "lm_weight", "word_score")
"""Options that a search over a list of words has too."""
_NEEDS = {"lm_unit": "lm", "lm_weight": "lm", "hotword_weight": "hotwords", "strict": "hotwords"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderChoice:
    """Decoding options as given on the command line; `None` for the default."""

    decoder: DecoderName
    beam_size: int | None
    nbest: int | None
    lm: Path | None
    lm_unit: LmUnit | None
    lm_weight: float | None
    word_score: float | None
    hotwords: Path | None
    hotword_weight: float | None
    strict: bool | None
    zero_shot: Path | None = None

    def _given(self) -> dict[str, Any]:
        names = [n for n in self.__dataclass_fields__ if n not in ("decoder", "zero_shot")]
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def check(self, *, has_alternatives: bool, languages: Collection[str]) -> None:
        """Check the options for contradictions.

        Args:
            has_alternatives: Whether the output can contain more than one text.
            languages: Codes of the recordings.

        Raises:
            click.UsageError: an option lacks the one it depends on, or does not fit the rest.
        """
        given = self._given()
        is_lexicon = self.zero_shot is not None
        for name in given:
            if is_lexicon and name not in _WITH_WORDS:
                raise click.UsageError(f"{_flag(name)} does not go with --zero-shot")
            if not self.is_beam:
                raise click.UsageError(f"{_flag(name)} needs --decoder beam")
            if _NEEDS.get(name, name) not in given:
                raise click.UsageError(f"{_flag(name)} needs {_flag(_NEEDS[name])}")
        if is_lexicon and self.lm is not None and self.lm.is_dir():
            raise click.UsageError("--zero-shot takes one language model: give a file for --lm")
        if single := self._single:
            what, instead = single
            if any(code.partition(":")[0] == "auto" for code in languages):
                raise click.UsageError(
                    f"{what} of one language: give --lang instead of auto{instead}"
                )
            if len(languages) > 1:
                raise click.UsageError(
                    f"{what} of one language, the recordings are in "
                    f"{', '.join(sorted(languages))}: run one command per language{instead}"
                )
        if self.nbest is not None and self.nbest > 1 and not has_alternatives:
            raise click.UsageError("--nbest needs --json, without --reference")

    @property
    def _single(self) -> tuple[str, str] | None:
        """Subject of a sentence on a list or model of one language, and a remedy beside --lang."""
        if self.zero_shot is not None:
            return "--zero-shot is a list", ""
        if self.lm is not None and not self.lm.is_dir():
            return "--lm is a model", ", or give a folder with a model for each"
        return None

    @property
    def is_beam(self) -> bool:
        """Whether it is a beam search, whose models may have warnings."""
        return self.decoder == "beam" or self.zero_shot is not None

    def search(self) -> "BeamSearch | LexiconSearch | None":
        """Return the beam search; `None` for greedy decoding.

        Raises:
            click.UsageError: a number is out of range.
            LanguageModelError: the hotwords cannot be read.
        """
        from mms_engine.decoding.options import BeamSearch, LexiconSearch

        if not self.is_beam:
            return None
        values = self._given()
        weight = values.pop("hotword_weight", None)
        if self.hotwords is not None:
            values["hotwords"] = _phrases(self.hotwords, weight)
        try:
            if self.zero_shot is not None:
                return LexiconSearch(words=self.zero_shot, **values)
            return BeamSearch(**values)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _phrases(path: Path, weight: float | None) -> list[tuple[str, float]]:
    from mms_kernels.hotwords import DEFAULT_WEIGHT, read_phrases

    try:
        return read_phrases(path, weight=DEFAULT_WEIGHT if weight is None else weight)
    except (OSError, ValueError) as error:
        raise LanguageModelError(f"the hotwords cannot be used: {error}") from error


_ZERO_SHOT = section("Decoding")(
    "--zero-shot",
    type=_FILE,
    metavar="WORDS.txt",
    help="Closed vocabulary: the text consists of words of this file only, which are separated by "
    "white space. A model of romanised text, such as mms-zeroshot-300m, takes words of any "
    "language, named by --lang; others take words in the letters of the language.",
)
decoder_options = grouped("decoding", DecoderChoice, _OPTIONS)
"""Adds the options of `DecoderChoice`, but --zero-shot, as the argument `decoding`."""
offline_decoder_options = grouped(
    "decoding", DecoderChoice, (_OPTIONS[0], _ZERO_SHOT, *_OPTIONS[1:])
)
"""Adds the options of `DecoderChoice` as the argument `decoding`."""
