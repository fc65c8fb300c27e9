"""Greedy and beam decoding on the host, with the kernels for the CPU."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mms_engine.decoding.hypothesis import Hypothesis
from mms_engine.decoding.interface import Decoded, DecodeRow, StreamDecoding
from mms_engine.decoding.options import HotwordPhrases, LexiconSearch, Search
from mms_engine.decoding.search import BeamConfig
from mms_engine.encoder.emission import Emission
from mms_engine.errors import LanguageModelError
from mms_engine.text.vocabulary import BLANK, Vocabulary
from mms_engine.types import Float32Array
from mms_kernels import BeamDecoder, BeamStream, GreedyDecoder, GreedyResult
from mms_kernels import Hypothesis as BeamHypothesis
from mms_kernels.lexicon import LexiconHypothesis

# Imported where a list of words is given, for its texts: the rest begins sooner without.
if TYPE_CHECKING:
    from mms_engine.decoding.lexicon import LanguageLexicon, LexiconConfig


class HostDecoders:
    """Decoders on the CPU; see `DecoderBackend`."""

    def __init__(self, beam: Search | None, *, romanized: bool = False) -> None:
        """Load the language model, and the list of words.

        Args:
            beam: `None` for greedy decoding.
            romanized: Whether the vocabularies hold romanised letters.

        Raises:
            LanguageModelError: the language model or the list cannot be read.
        """
        self.config: BeamConfig | LexiconConfig | None = None
        """Models and options of the search; `None` for greedy decoding."""
        if isinstance(beam, LexiconSearch):
            from mms_engine.decoding import lexicon

            self.config = lexicon.LexiconConfig(beam, romanized=romanized)
        elif beam is not None:
            self.config = BeamConfig(beam)
        self._lock = threading.Lock()
        self._by_language: dict[str, tuple[BeamDecoder, tuple[str, ...]]] = {}
        """Decoder of each language, and its warnings."""

    @property
    def nbest(self) -> int:
        """Distinct texts that are wanted of an utterance."""
        return 1 if self.config is None else self.config.nbest

    def start(
        self,
        language: str,
        vocabulary: Vocabulary,
        hotwords: HotwordPhrases | None = None,
    ) -> StreamDecoding:
        """Begin an utterance; see `DecoderBackend.start`."""
        if self.config is None:
            if hotwords:
                raise LanguageModelError(GREEDY_HOTWORDS)
            return _Greedy()
        if not isinstance(self.config, BeamConfig):
            if hotwords:
                raise LanguageModelError(_LEXICON_HOTWORDS)
            return _Lexicon(self.config.of(language, vocabulary), self.config.wanted)
        try:
            decoder, warnings = self._decoder(self.config, language, vocabulary)
            own = None
            if hotwords is not None:
                beam = self.config.of(language, vocabulary, hotwords)
                own = beam.hotwords or self.config.hotwords((), language, vocabulary)
                warnings = beam.warnings
            stream = decoder.stream(hotwords=own)
        except ValueError as error:
            raise LanguageModelError(f"beam search in {language}: {error}") from error
        return _Beam(stream, self.config.wanted, warnings)

    def _decoder(
        self, config: BeamConfig, language: str, vocabulary: Vocabulary
    ) -> tuple[BeamDecoder, tuple[str, ...]]:
        with self._lock:
            if language not in self._by_language:
                beam = config.of(language, vocabulary)
                decoder = BeamDecoder(
                    beam.options, lm=beam.lm, hotwords=beam.hotwords, tokens=beam.tokens
                )
                self._by_language[language] = decoder, beam.warnings
            return self._by_language[language]

    def step(self, rows: Sequence[DecodeRow], emission: Emission) -> None:
        """Decode a batch; see `DecoderBackend.step`."""
        for row, logits in zip(rows, emission.rows(), strict=True):
            decoding: _Greedy | _Beam | _Lexicon = row.decoding
            if decoding.error is None:
                try:
                    decoding.step(logits[row.kept])
                except ValueError as error:
                    decoding.error = error

    def finish(self, decodings: Sequence[Any]) -> list[Decoded]:
        """End utterances; see `DecoderBackend.finish`."""
        return [decoding.error or decoding.finish() for decoding in decodings]

    def close(self) -> None:
        """Do nothing: memory goes with the object."""


_LEXICON_HOTWORDS = "a search over a list of words has no hotwords: leave them out"
GREEDY_HOTWORDS = "hotwords need beam search: greedy decoding does not use them"


class _Greedy:
    error: ValueError | None = None
    """Why the utterance is undecodable."""
    warnings: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._decoder = GreedyDecoder(BLANK)

    def step(self, logits: Float32Array) -> None:
        self._decoder.step(logits)

    def partial(self, tail: Float32Array) -> tuple[Hypothesis, int]:
        ahead = self._decoder
        if len(tail):
            ahead = ahead.copy()
            ahead.step(tail)
        return _from_greedy(ahead.partial()), len(self._decoder.partial())

    def finish(self) -> list[Hypothesis]:
        return [_from_greedy(self._decoder.finish())]


def _from_greedy(result: GreedyResult) -> Hypothesis:
    return Hypothesis(result.tokens, result.starts, result.ends, result.scores)


class _Beam:
    error: ValueError | None = None
    """Why the utterance is undecodable."""

    def __init__(self, stream: BeamStream, wanted: int, warnings: tuple[str, ...]) -> None:
        self._stream = stream
        self._wanted = wanted
        self.warnings = warnings

    def step(self, logits: Float32Array) -> None:
        self._stream.step(logits)

    def partial(self, tail: Float32Array) -> tuple[Hypothesis, int]:
        ahead = self._stream.copy()
        if len(tail):
            ahead.step(tail)
        return _from_beam(ahead.partial().hypotheses[0]), self._stream.partial().stable

    def finish(self) -> list[Hypothesis]:
        return [_from_beam(one) for one in self._stream.finish(nbest=self._wanted)]


def _from_beam(one: BeamHypothesis) -> Hypothesis:
    return Hypothesis(one.tokens, one.starts, one.ends, one.scores, one.score, one.log_prob)


class _Lexicon:
    error: ValueError | None = None
    """Why the utterance is undecodable."""

    def __init__(self, lexicon: "LanguageLexicon", wanted: int) -> None:
        self._stream = lexicon.decoder.stream()
        self._words = lexicon.words
        self._wanted = wanted
        self.warnings = lexicon.warnings

    def step(self, logits: Float32Array) -> None:
        self._stream.step(logits)

    def partial(self, tail: Float32Array) -> tuple[Hypothesis, int]:
        ahead = self._stream.copy()
        if len(tail):
            ahead.step(tail)
        return self._hypothesis(ahead.partial()[0]), self._stream.partial()[1]

    def finish(self) -> list[Hypothesis]:
        found = self._stream.finish(nbest=self._wanted)
        return [self._hypothesis(one) for one in found] or [_NOTHING]

    def _hypothesis(self, one: LexiconHypothesis) -> Hypothesis:
        return Hypothesis(
            one.tokens,
            one.starts,
            one.ends,
            one.scores,
            one.score,
            one.log_prob,
            tuple(self._words[word] for word in one.tokens.tolist()),
        )


_NOTHING = Hypothesis(
    np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
)
"""Result where no words of the list are possible."""
