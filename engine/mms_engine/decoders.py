"""Greedy and beam decoding behind one interface: logits in, hypotheses out."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from mms_engine.decode import Hypothesis
from mms_engine.errors import LanguageModelError
from mms_engine.options import BeamSearch, LmUnit, RecognizerOptions
from mms_engine.types import Float32Array
from mms_engine.vocab import BLANK, WORD_BOUNDARY, Vocabulary
from mms_kernels import BeamDecoder, BeamOptions, BeamStream, GreedyDecoder
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import LanguageModel, open_lm

# Hypotheses that read the same are one alternative: so many are looked at for each that is wanted.
_SPARE = 4
# With weight 1 the best of 0, 1, 2 and 4 for the demo and models of its training sentences.
_WORD_SCORE = 2.0


class Decoding(Protocol):
    """One utterance on its way from logits to hypotheses."""

    def step(self, logits: Float32Array) -> None:
        """Read the next frames.

        Args:
            logits: Shape `[T, V]`, C-contiguous.

        Raises:
            ValueError: they hold NaN or +inf.
        """

    def finish(self) -> list[Hypothesis]:
        """Return what was found, the best first, at least one."""


class Decoders:
    """Starts a decoding for each utterance. May be used from several threads at once."""

    def __init__(self, options: RecognizerOptions) -> None:
        """Open what decoding takes.

        Raises:
            LanguageModelError: the language model cannot be read.
        """
        self._search = options.beam or BeamSearch()
        self._is_beam = options.decoder == "beam"
        self._lm = None if self._search.lm is None else _open(self._search.lm)
        self._lock = threading.Lock()
        self._by_language: dict[str, BeamDecoder] = {}

    @property
    def nbest(self) -> int:
        """Different texts that are wanted of an utterance."""
        return self._search.nbest

    def start(
        self,
        language: str,
        vocabulary: Vocabulary,
        hotwords: Mapping[str, float] | None = None,
    ) -> Decoding:
        """Begin an utterance.

        Args:
            language: Code.
            vocabulary: The language's.
            hotwords: The utterance's own, instead of those of the options; `None` keeps these.

        Raises:
            LanguageModelError: hotwords or the language model do not fit the language, or hotwords
                were given to greedy decoding.
        """
        if not self._is_beam:
            if hotwords:
                raise LanguageModelError("hotwords need decoder='beam': greedy does not search")
            return _Greedy()
        try:
            own = None if hotwords is None else _hotwords(hotwords, vocabulary)
            stream = self._decoder(language, vocabulary).stream(hotwords=own)
        except ValueError as error:
            raise LanguageModelError(f"beam search in {language}: {error}") from error
        return _Beam(stream, self._wanted())

    def _decoder(self, language: str, vocabulary: Vocabulary) -> BeamDecoder:
        with self._lock:
            if language not in self._by_language:
                self._by_language[language] = self._make(vocabulary)
            return self._by_language[language]

    def _wanted(self) -> int:
        return min(self._search.beam_size, _SPARE * self.nbest) if self.nbest > 1 else 1

    def _make(self, vocabulary: Vocabulary) -> BeamDecoder:
        search = self._search
        unit = _unit(search.lm_unit, vocabulary)
        separator = _separator(vocabulary)
        hotwords = _hotwords(search.hotwords, vocabulary) if search.hotwords else None
        options = BeamOptions(
            beam_size=search.beam_size,
            blank=BLANK,
            lm_weight=search.lm_weight if self._lm else 0.0,
            word_score=self._word_score(unit),
            unit=unit,
            separator=vocabulary.tokens.index(separator) if separator else None,
        )
        return BeamDecoder(options, lm=self._lm, hotwords=hotwords, tokens=vocabulary.tokens)

    def _word_score(self, unit: str) -> float:
        if self._search.word_score is not None:
            return self._search.word_score
        return _WORD_SCORE if self._lm is not None and unit == "word" else 0.0


class _Greedy:
    def __init__(self) -> None:
        self._decoder = GreedyDecoder(BLANK)

    def step(self, logits: Float32Array) -> None:
        self._decoder.step(logits)

    def finish(self) -> list[Hypothesis]:
        found = self._decoder.finish()
        return [Hypothesis(found.tokens, found.starts, found.ends, found.scores)]


class _Beam:
    def __init__(self, stream: BeamStream, wanted: int) -> None:
        self._stream = stream
        self._wanted = wanted

    def step(self, logits: Float32Array) -> None:
        self._stream.step(logits)

    def finish(self) -> list[Hypothesis]:
        return [
            Hypothesis(one.tokens, one.starts, one.ends, one.scores, one.score, one.log_prob)
            for one in self._stream.finish(nbest=self._wanted)
        ]


def _unit(chosen: LmUnit, vocabulary: Vocabulary) -> Literal["word", "token"]:
    if chosen == "auto":
        return "word" if vocabulary.has_boundary else "token"
    return chosen


def _separator(vocabulary: Vocabulary) -> str | None:
    return WORD_BOUNDARY if vocabulary.has_boundary else None


def _hotwords(phrases: Mapping[str, float], vocabulary: Vocabulary) -> Hotwords:
    outside = [i for i in range(len(vocabulary)) if not vocabulary.is_text(i)]
    separator = _separator(vocabulary)
    return Hotwords(phrases, vocabulary.tokens, separator=separator, excluded=outside)


def _open(path: Path) -> LanguageModel:
    try:
        return open_lm(path)
    except (ImportError, OSError, ValueError) as error:
        raise LanguageModelError(f"the language model cannot be used: {error}") from error
