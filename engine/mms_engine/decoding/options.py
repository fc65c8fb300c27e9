"""Options of the CTC decoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mms_engine.types import LmUnit
from mms_kernels.hotwords import DEFAULT_WEIGHT

HotwordPhrases = Mapping[str, float] | Sequence[str | tuple[str, float]]
"""Phrases to favour: with the score of each occurrence in nats, or a list, with 5 nats for each
phrase without a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearch:
    """Prefix beam search.

    It returns the text with the greatest
    `ln P(text | audio) + lm_weight * log10 P(text) + word_score * units + hotword weights`.
    """

    beam_size: int = 50
    """Hypotheses kept after each frame."""
    nbest: int = 1
    """Distinct texts in `Transcript.alternatives`, when more than one."""
    lm: str | Path | None = None
    """N-gram language model: ARPA (plain or compressed), the output of `mms lm convert`, or a KenLM
    binary. It is used for every language of the call, so it fits calls in one language. Its words
    are folded to the case and the characters of the language's vocabulary."""
    lm_unit: LmUnit = "auto"
    """Unit of the model's n-grams and of `word_score`: words, or the vocabulary's tokens. `auto`
    is words where the language's vocabulary has a word boundary."""
    lm_weight: float = 1.0
    """Multiplier of log10 P_lm, in nats."""
    word_score: float | None = None
    """Score of each unit, in nats: above 0 favours more and shorter words. `None` for 2 with a
    language model of words, which offsets its cost per word, and else 0."""
    hotwords: HotwordPhrases = field(default_factory=dict)
    """Phrases to favour, folded to the case and the characters of the language's vocabulary."""
    strict: bool = False
    """Whether hotwords that cannot be used are an error, instead of being skipped with a warning in
    `Transcript.warnings`."""

    def __post_init__(self) -> None:
        if not 1 <= self.nbest <= self.beam_size:
            raise ValueError(f"nbest is {self.nbest}, must be from 1 to beam_size {self.beam_size}")
        hotword_scores(self.hotwords)


def hotword_scores(hotwords: HotwordPhrases) -> list[tuple[str, float]]:
    """Return each phrase and its score, in nats.

    Raises:
        TypeError: a single string was given, which would be read as its letters.
    """
    if isinstance(hotwords, str):
        raise TypeError(f"hotwords must be a list or a mapping, got the string {hotwords!r}")
    if isinstance(hotwords, Mapping):
        return list(hotwords.items())
    return [(one, DEFAULT_WEIGHT) if isinstance(one, str) else one for one in hotwords]
