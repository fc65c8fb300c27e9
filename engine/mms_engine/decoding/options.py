"""Options of the CTC decoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mms_engine.decoding.language_models import LanguageModelFiles
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
    lm: LanguageModelFiles | None = None
    """N-gram language model: ARPA (plain or compressed), the output of `mms lm convert`, or a KenLM
    binary. A file is used for every language of the call, so it fits calls in one language. Of a
    folder with files such as `eng.arpa.gz`, or of a mapping from codes to files, each language has
    its own; one that is not there is decoded without. Words are folded to the case and the
    characters of the language's vocabulary."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LexiconSearch:
    """Beam search over a closed vocabulary, for zero-shot recognition.

    It returns the words of the list whose spellings have the greatest
    `ln P(path | audio) + lm_weight * log10 P(words) + word_score * words`, by the rules of
    flashlight's `LexiconDecoder`. Defaults are those of the recipe of MMS zero-shot recognition
    (arXiv 2407.17852).
    """

    words: str | Path | Sequence[str]
    """File in UTF-8 with words separated by white space, such as one on each line, or a sequence of
    them. With a model of romanised text they are romanised; otherwise they have to be in the
    letters of the language."""
    beam_size: int = 500
    """Hypotheses kept after each frame."""
    nbest: int = 1
    """Distinct texts in `Transcript.alternatives`, when more than one."""
    beam_threshold: float = 50.0
    """Hypotheses whose score is further below the best are dropped, in nats."""
    lm: str | Path | None = None
    """N-gram language model of words, written as in the list: ARPA (plain or compressed), the
    output of `mms lm convert`, or a KenLM binary."""
    lm_weight: float = 1.48
    """Multiplier of log10 P_lm, in nats."""
    word_score: float | None = None
    """Score of each word, in nats. `None` for -0.18 with a language model, and -3.5 without."""

    def __post_init__(self) -> None:
        if not 1 <= self.nbest <= self.beam_size:
            raise ValueError(f"nbest is {self.nbest}, must be from 1 to beam_size {self.beam_size}")

    def score_of_word(self) -> float:
        """Return `word_score`, or its default."""
        if self.word_score is not None:
            return self.word_score
        return -3.5 if self.lm is None else -0.18


Search = BeamSearch | LexiconSearch


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
