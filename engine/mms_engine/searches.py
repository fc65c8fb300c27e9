"""What a beam search takes: models and options, put together for each language."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mms_engine.errors import LanguageModelError
from mms_engine.options import BeamSearch, LmUnit
from mms_engine.text.vocabulary import BLANK, WORD_BOUNDARY, Vocabulary
from mms_kernels import BeamOptions
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import LanguageModel, open_lm

# Hypotheses that read the same are one alternative: so many are looked at for each that is wanted.
_SPARE = 4
# With weight 1 the best of 0, 1, 2 and 4 for the demo and models of its training sentences.
_WORD_SCORE = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class LanguageSearch:
    """The beam search of one language, for a decoder of any device."""

    options: BeamOptions
    lm: LanguageModel | None
    hotwords: Hotwords | None
    tokens: tuple[str, ...]
    """How each token is written, by id."""


class Searches:
    """The beam search that was asked for, for any language."""

    def __init__(self, search: BeamSearch) -> None:
        """Open the language model.

        Raises:
            LanguageModelError: it cannot be read.
        """
        self._search = search
        self.lm = None if search.lm is None else _open(search.lm)
        """The language model, of all languages."""

    @property
    def beam_size(self) -> int:
        """Hypotheses that are kept in each frame."""
        return self._search.beam_size

    @property
    def nbest(self) -> int:
        """Different texts that are wanted of an utterance."""
        return self._search.nbest

    @property
    def wanted(self) -> int:
        """Hypotheses that are wanted of an utterance: some may read the same."""
        return min(self.beam_size, _SPARE * self.nbest) if self.nbest > 1 else 1

    def of(self, vocabulary: Vocabulary) -> LanguageSearch:
        """Return the search of a language.

        Raises:
            ValueError: hotwords do not fit the vocabulary.
        """
        search = self._search
        unit = _unit(search.lm_unit, vocabulary)
        separator = _separator(vocabulary)
        hotwords = make_hotwords(search.hotwords, vocabulary) if search.hotwords else None
        options = BeamOptions(
            beam_size=search.beam_size,
            blank=BLANK,
            lm_weight=search.lm_weight if self.lm else 0.0,
            word_score=self._word_score(unit),
            unit=unit,
            separator=vocabulary.tokens.index(separator) if separator else None,
        )
        return LanguageSearch(options, self.lm, hotwords, vocabulary.tokens)

    def _word_score(self, unit: str) -> float:
        if self._search.word_score is not None:
            return self._search.word_score
        return _WORD_SCORE if self.lm is not None and unit == "word" else 0.0


def make_hotwords(phrases: Mapping[str, float], vocabulary: Vocabulary) -> Hotwords:
    """Return phrases as the tokens of a language.

    Raises:
        ValueError: they do not fit the vocabulary.
    """
    outside = [i for i in range(len(vocabulary)) if not vocabulary.is_text(i)]
    separator = _separator(vocabulary)
    return Hotwords(phrases, vocabulary.tokens, separator=separator, excluded=outside)


def _separator(vocabulary: Vocabulary) -> str | None:
    return WORD_BOUNDARY if vocabulary.has_boundary else None


def _unit(chosen: LmUnit, vocabulary: Vocabulary) -> Literal["word", "token"]:
    if chosen == "auto":
        return "word" if vocabulary.has_boundary else "token"
    return chosen


def _open(path: Path) -> LanguageModel:
    try:
        return open_lm(path)
    except (ImportError, OSError, ValueError) as error:
        raise LanguageModelError(f"the language model cannot be used: {error}") from error
