"""Beam-search configuration per language: options, language model and hotwords."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mms_engine.decoding.options import BeamSearch, HotwordPhrases, hotword_scores
from mms_engine.errors import LanguageModelError
from mms_engine.text.vocabulary import BLANK, Vocabulary
from mms_engine.types import LmUnit
from mms_kernels import BeamOptions
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import LanguageModel, open_lm

# Hypotheses with equal text are merged, so fetch 4 per requested alternative.
_SPARE = 4
# Best of 0, 1, 2 and 4 at weight 1, for the demo model and n-grams of its training sentences.
_WORD_SCORE = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class LanguageBeam:
    """Beam search of one language, for a decoder on any device."""

    options: BeamOptions
    lm: LanguageModel | None
    hotwords: Hotwords | None
    tokens: tuple[str, ...]
    """Text of each token, by id."""


class BeamConfig:
    """Beam search as the caller configured it, for any language."""

    def __init__(self, search: BeamSearch) -> None:
        """Load the language model.

        Raises:
            LanguageModelError: it cannot be read.
        """
        self._search = search
        self.lm = None if search.lm is None else _open(search.lm)
        """Language model, used for every language."""

    @property
    def beam_size(self) -> int:
        """Hypotheses kept after each frame."""
        return self._search.beam_size

    @property
    def nbest(self) -> int:
        """Distinct texts that are wanted of an utterance."""
        return self._search.nbest

    @property
    def wanted(self) -> int:
        """Hypotheses to fetch per utterance; some may have equal text."""
        return min(self.beam_size, _SPARE * self.nbest) if self.nbest > 1 else 1

    def of(self, vocabulary: Vocabulary, hotwords: HotwordPhrases | None = None) -> LanguageBeam:
        """Return the search of a language.

        Args:
            vocabulary: Tokens of the language.
            hotwords: Phrases and scores in place of those of the options; `None` keeps these.

        Raises:
            ValueError: hotwords do not fit the vocabulary.
        """
        search = self._search
        unit = _unit(search.lm_unit, vocabulary)
        separator = _separator(vocabulary)
        phrases = search.hotwords if hotwords is None else hotwords
        options = BeamOptions(
            beam_size=search.beam_size,
            blank=BLANK,
            lm_weight=search.lm_weight if self.lm else 0.0,
            word_score=self._word_score(unit),
            unit=unit,
            separator=vocabulary.tokens.index(separator) if separator else None,
        )
        boost = make_hotwords(phrases, vocabulary) if phrases else None
        return LanguageBeam(options, self.lm, boost, vocabulary.tokens)

    def _word_score(self, unit: str) -> float:
        if self._search.word_score is not None:
            return self._search.word_score
        return _WORD_SCORE if self.lm is not None and unit == "word" else 0.0


def make_hotwords(phrases: HotwordPhrases, vocabulary: Vocabulary) -> Hotwords:
    """Return the hotword automaton of phrases over a language's tokens.

    Raises:
        ValueError: they do not fit the vocabulary.
    """
    outside = [i for i in range(len(vocabulary)) if not vocabulary.is_text(i)]
    separator = _separator(vocabulary)
    return Hotwords(
        hotword_scores(phrases), vocabulary.tokens, separator=separator, excluded=outside
    )


def _separator(vocabulary: Vocabulary) -> str | None:
    return vocabulary.word_delimiter if vocabulary.has_boundary else None


def _unit(chosen: LmUnit, vocabulary: Vocabulary) -> Literal["word", "token"]:
    if chosen == "auto":
        return "word" if vocabulary.has_boundary else "token"
    return chosen


def _open(path: str | Path) -> LanguageModel:
    try:
        return open_lm(Path(path))
    except (ImportError, OSError, ValueError) as error:
        raise LanguageModelError(f"the language model cannot be used: {error}") from error
