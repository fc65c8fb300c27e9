"""Greedy and beam decoding behind one interface: logits in, hypotheses out."""

import threading
from pathlib import Path
from typing import Literal, Protocol

from mms_engine.decode import Hypothesis
from mms_engine.errors import LanguageModelError
from mms_engine.options import BeamSearch, LmUnit, RecognizerOptions
from mms_engine.types import Float32Array
from mms_engine.vocab import BLANK, WORD_BOUNDARY, Vocabulary
from mms_kernels import BeamDecoder, BeamOptions, BeamStream, GreedyDecoder, GreedyResult
from mms_kernels import Hypothesis as BeamHypothesis
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


class StreamDecoding(Decoding, Protocol):
    """A decoding that can be asked before its end."""

    def partial(self, tail: Float32Array) -> tuple[Hypothesis, int]:
        """Return the best hypothesis so far, and how many of its tokens can no longer change.

        Args:
            tail: Frames behind those read, `[M, V]`, which this reads ahead and forgets.
        """
        ...


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

    def start(self, language: str, vocabulary: Vocabulary) -> StreamDecoding:
        """Begin an utterance.

        Raises:
            LanguageModelError: hotwords or the language model do not fit the language.
        """
        if not self._is_beam:
            return _Greedy()
        with self._lock:
            if language not in self._by_language:
                try:
                    self._by_language[language] = self._make(vocabulary)
                except ValueError as error:
                    raise LanguageModelError(f"beam search in {language}: {error}") from error
            return _Beam(self._by_language[language].stream(), self._wanted())

    def _wanted(self) -> int:
        return min(self._search.beam_size, _SPARE * self.nbest) if self.nbest > 1 else 1

    def _make(self, vocabulary: Vocabulary) -> BeamDecoder:
        search = self._search
        unit = _unit(search.lm_unit, vocabulary)
        separator = WORD_BOUNDARY if vocabulary.has_boundary else None
        outside = [i for i in range(len(vocabulary)) if not vocabulary.is_text(i)]
        hotwords = (
            Hotwords(search.hotwords, vocabulary.tokens, separator=separator, excluded=outside)
            if search.hotwords
            else None
        )
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

    def partial(self, tail: Float32Array) -> tuple[Hypothesis, int]:
        ahead = self._decoder
        if len(tail):
            ahead = ahead.copy()
            ahead.step(tail)
        return _hypothesis(ahead.partial()), len(self._decoder.partial())

    def finish(self) -> list[Hypothesis]:
        return [_hypothesis(self._decoder.finish())]


def _hypothesis(found: GreedyResult) -> Hypothesis:
    return Hypothesis(found.tokens, found.starts, found.ends, found.scores)


class _Beam:
    def __init__(self, stream: BeamStream, wanted: int) -> None:
        self._stream = stream
        self._wanted = wanted

    def step(self, logits: Float32Array) -> None:
        self._stream.step(logits)

    def partial(self, tail: Float32Array) -> tuple[Hypothesis, int]:
        ahead = self._stream.copy()
        if len(tail):
            ahead.step(tail)
        return _found(ahead.partial().hypotheses[0]), self._stream.partial().stable

    def finish(self) -> list[Hypothesis]:
        return [_found(one) for one in self._stream.finish(nbest=self._wanted)]


def _found(one: BeamHypothesis) -> Hypothesis:
    return Hypothesis(one.tokens, one.starts, one.ends, one.scores, one.score, one.log_prob)


def _unit(chosen: LmUnit, vocabulary: Vocabulary) -> Literal["word", "token"]:
    if chosen == "auto":
        return "word" if vocabulary.has_boundary else "token"
    return chosen


def _open(path: Path) -> LanguageModel:
    try:
        return open_lm(path)
    except (ImportError, OSError, ValueError) as error:
        raise LanguageModelError(f"the language model cannot be used: {error}") from error
