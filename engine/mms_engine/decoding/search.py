"""Beam-search configuration per language: options, language model and hotwords."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mms_engine.decoding.language_models import LanguageModels
from mms_engine.decoding.options import BeamSearch, HotwordPhrases, hotword_scores
from mms_engine.errors import LanguageModelError
from mms_engine.text.vocabulary import BLANK, Vocabulary
from mms_engine.types import LmUnit
from mms_kernels import BeamOptions
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import LanguageModel
from mms_kernels.spelling import Spelling

# Hypotheses with equal text are merged, so fetch 4 per requested alternative.
_SPARE = 4
# Best of 0, 1, 2 and 4 at weight 1, for the demo model and n-grams of its training sentences.
_WORD_SCORE = 2.0
_EXAMPLES = 3


@dataclass(frozen=True, slots=True, eq=False)
class LanguageBeam:
    """Beam search of one language, for a decoder on any device."""

    options: BeamOptions
    lm: LanguageModel | None
    hotwords: Hotwords | None
    tokens: tuple[str, ...]
    """Text of each token, by id."""
    warnings: tuple[str, ...] = ()
    """Words of the language model and hotwords that cannot be used."""


@dataclass(frozen=True, slots=True, eq=False)
class _FittedLm:
    """Language model with its words in the form of a vocabulary."""

    model: LanguageModel
    warnings: tuple[str, ...]


class BeamConfig:
    """Beam search as the caller configured it, for any language."""

    def __init__(self, search: BeamSearch) -> None:
        """Find the language models.

        Raises:
            LanguageModelError: a single one cannot be read, or a folder has none.
        """
        self._search = search
        self._lock = threading.Lock()
        self._fitted: dict[tuple[str, Vocabulary], _FittedLm] = {}
        self.models = LanguageModels(search.lm)
        """Language models as they are in their files."""

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

    def of(
        self, language: str, vocabulary: Vocabulary, hotwords: HotwordPhrases | None = None
    ) -> LanguageBeam:
        """Return the search of a language.

        Args:
            language: Code.
            vocabulary: Tokens of the language.
            hotwords: Phrases and scores in place of those of the options; `None` keeps these.

        Raises:
            LanguageModelError: the language model has no word that the vocabulary can spell, or
                hotwords cannot be used and the options are strict.
            ValueError: there are too many hotwords.
        """
        search = self._search
        unit = _unit(search.lm_unit, vocabulary)
        separator = _separator(vocabulary)
        phrases = search.hotwords if hotwords is None else hotwords
        lm = self.models.of(language)
        options = BeamOptions(
            beam_size=search.beam_size,
            blank=BLANK,
            lm_weight=search.lm_weight if lm else 0.0,
            word_score=self._word_score(lm, unit),
            unit=unit,
            separator=vocabulary.tokens.index(separator) if separator else None,
        )
        fitted = None if lm is None else self._fit(lm, language, vocabulary, unit)
        boost = self.hotwords(phrases, language, vocabulary) if phrases else None
        return LanguageBeam(
            options,
            fitted.model if fitted else None,
            boost,
            vocabulary.tokens,
            (fitted.warnings if fitted else self.models.warnings(language))
            + self.skipped(boost, phrases, language),
        )

    def hotwords(self, phrases: HotwordPhrases, language: str, vocabulary: Vocabulary) -> Hotwords:
        """Return the hotword automaton of phrases over a language's tokens.

        Raises:
            LanguageModelError: some cannot be used, and the options are strict.
            ValueError: there are too many.
        """
        made = Hotwords(
            hotword_scores(phrases),
            vocabulary.tokens,
            separator=_separator(vocabulary),
            excluded=_outside(vocabulary),
            skip=True,
        )
        if made.skipped and self._search.strict:
            raise LanguageModelError("; ".join(self.skipped(made, phrases, language)))
        return made

    @staticmethod
    def skipped(made: Hotwords | None, phrases: HotwordPhrases, language: str) -> tuple[str, ...]:
        """Return the warning on the phrases that an automaton leaves out, if there are any."""
        if made is None or not made.skipped:
            return ()
        return (
            f"{len(made.skipped):,} of {len(phrases):,} hotwords cannot be used in {language}: "
            + first_few(made.skipped, "; "),
        )

    def _fit(
        self, lm: LanguageModel, language: str, vocabulary: Vocabulary, unit: str
    ) -> _FittedLm:
        """Return the language model for a vocabulary, made once.

        Raises:
            LanguageModelError: the vocabulary can spell none of its words.
        """
        with self._lock:
            key = (language, vocabulary)
            if key not in self._fitted:
                self._fitted[key] = self._fitting(lm, language, vocabulary, unit)
            return self._fitted[key]

    def _fitting(
        self, lm: LanguageModel, language: str, vocabulary: Vocabulary, unit: str
    ) -> _FittedLm:
        spelling = Spelling(
            vocabulary.tokens, separator=_separator(vocabulary), excluded=_outside(vocabulary)
        )
        is_word = unit == "word"
        model, without, count = lm.rewritten(
            spelling.written if is_word else spelling.written_tokens
        )
        if not without:
            return _FittedLm(model, ())
        what, name = "words" if is_word else "tokens", self.models.path(language)
        letters = f"letters of {language}" if is_word else f"tokens of {language}"
        found = (
            f"{len(without):,} of {count:,} {what} of {name} cannot be written with the {letters}"
        )
        if len(without) == count:
            raise LanguageModelError(
                f"{found}: {first_few(without, ', ')}; choose a model of the language, and of "
                f"{what} (option lm_unit)"
            )
        return _FittedLm(model, (f"{found}: {first_few(without, ', ')}",))

    def _word_score(self, lm: LanguageModel | None, unit: str) -> float:
        if self._search.word_score is not None:
            return self._search.word_score
        return _WORD_SCORE if lm is not None and unit == "word" else 0.0


def first_few(items: Sequence[str], separator: str) -> str:
    """Return the first few items."""
    more = (separator + "…") if len(items) > _EXAMPLES else ""
    shown = (item.encode("utf-8", "replace").decode() for item in items[:_EXAMPLES])
    return separator.join(shown) + more


def _outside(vocabulary: Vocabulary) -> list[int]:
    """Return the tokens that are no text."""
    return [i for i in range(len(vocabulary)) if not vocabulary.is_text(i)]


def _separator(vocabulary: Vocabulary) -> str | None:
    return vocabulary.word_delimiter if vocabulary.has_boundary else None


def _unit(chosen: LmUnit, vocabulary: Vocabulary) -> Literal["word", "token"]:
    if chosen == "auto":
        return "word" if vocabulary.has_boundary else "token"
    return chosen
