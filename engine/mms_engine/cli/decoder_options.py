"""Options of `mms transcribe` that say how logits become text."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mms_engine.cli.options import grouped
from mms_engine.errors import LanguageModelError

if TYPE_CHECKING:
    from mms_engine.decoding.options import BeamSearch, LmUnit

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_OPTIONS = (
    click.option(
        "--decoder",
        type=click.Choice(["greedy", "beam"]),
        default="greedy",
        show_default=True,
        help="The most likely token of each frame, or a search with the options below.",
    ),
    click.option(
        "--beam-size",
        type=click.IntRange(1, 65_536),
        help="Hypotheses that are kept.  [default: 50]",
    ),
    click.option(
        "--nbest",
        type=click.IntRange(min=1),
        help="Texts in the JSON's alternatives.  [default: 1]",
    ),
    click.option(
        "--lm", type=_FILE, help="Language model of the language: ARPA, compact (mms lm), KenLM."
    ),
    click.option(
        "--lm-unit",
        type=click.Choice(["auto", "word", "token"]),
        help="What its n-grams are of.  [default: words, if the language parts them]",
    ),
    click.option("--lm-weight", type=float, help="Of its log10 probability.  [default: 1]"),
    click.option(
        "--word-score",
        type=float,
        help="Added for each word, in nats.  [default: 2 with --lm, else 0]",
    ),
    click.option(
        "--hotwords", type=_FILE, help="Phrases to listen for, one a line, with TAB and weight."
    ),
    click.option(
        "--hotword-weight", type=float, help="Nats for a phrase without its own.  [default: 5]"
    ),
)
_NEEDS = {"lm_unit": "lm", "lm_weight": "lm", "hotword_weight": "hotwords"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderChoice:
    """What the user chose; `None` for the default."""

    decoder: Literal["greedy", "beam"]
    beam_size: int | None
    nbest: int | None
    lm: Path | None
    lm_unit: "LmUnit | None"
    lm_weight: float | None
    word_score: float | None
    hotwords: Path | None
    hotword_weight: float | None

    def _given(self) -> dict[str, Any]:
        names = [name for name in self.__dataclass_fields__ if name != "decoder"]
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def check(self, *, has_alternatives: bool, languages: Collection[str]) -> None:
        """Refuse what contradicts itself.

        Args:
            has_alternatives: Whether the output has room for more than one text.
            languages: Of the recordings.

        Raises:
            click.UsageError: the options make no sense together.
        """
        given = self._given()
        for name in given:
            if self.decoder != "beam":
                raise click.UsageError(f"{_flag(name)} needs --decoder beam")
            if _NEEDS.get(name, name) not in given:
                raise click.UsageError(f"{_flag(name)} needs {_flag(_NEEDS[name])}")
        if self.lm is not None and len(languages) > 1:
            raise click.UsageError(
                f"--lm is of one language, the recordings are in {', '.join(sorted(languages))}: "
                "transcribe them by a command each"
            )
        if self.nbest is not None and self.nbest > 1 and not has_alternatives:
            raise click.UsageError("--nbest needs --json and no --reference: they have no room")

    def search(self) -> "BeamSearch | None":
        """Return it as the engine takes it.

        Raises:
            click.UsageError: a number is out of range.
            LanguageModelError: the hotwords cannot be read.
        """
        from mms_engine.decoding.options import BeamSearch

        if self.decoder != "beam":
            return None
        values = self._given()
        weight = values.pop("hotword_weight", None)
        if self.hotwords is not None:
            values["hotwords"] = _phrases(self.hotwords, weight)
        try:
            return BeamSearch(**values)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _phrases(path: Path, weight: float | None) -> dict[str, float]:
    from mms_kernels.hotwords import DEFAULT_WEIGHT, read_hotwords

    try:
        return read_hotwords(path, weight=DEFAULT_WEIGHT if weight is None else weight)
    except (OSError, ValueError) as error:
        raise LanguageModelError(f"the hotwords cannot be used: {error}") from error


decoder_options = grouped("decoding", DecoderChoice, _OPTIONS)
"""Adds the options of `DecoderChoice` as the argument `decoding`."""
