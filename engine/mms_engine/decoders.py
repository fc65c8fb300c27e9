"""Greedy and beam decoding behind one interface: logits in, hypotheses out."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mms_engine.decode import Hypothesis
from mms_engine.emission import Emission
from mms_engine.errors import LanguageModelError
from mms_engine.options import BeamSearch, RecognizerOptions
from mms_engine.searches import Searches, make_hotwords
from mms_engine.text.vocabulary import BLANK, Vocabulary
from mms_engine.types import Float32Array
from mms_kernels import BeamDecoder, BeamStream, GreedyDecoder, GreedyResult
from mms_kernels import Hypothesis as BeamHypothesis


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


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one row of a batch is to its decoding."""

    decoding: Any
    """What `Decoders.start` of the same decoders gave."""
    kept: slice
    """Frames of the row that are decoded; the others were context."""


class Decoders(Protocol):
    """Decodes any number of utterances, on the host or where the encoder left its logits.

    May be used from several threads at once.
    """

    @property
    def nbest(self) -> int:
        """Different texts that are wanted of an utterance."""
        ...

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
        ...

    def step(self, steps: Sequence[Step], emission: Emission) -> None:
        """Read a batch: its rows in order, one step each.

        Raises:
            ValueError: logits hold NaN or +inf.
        """
        ...

    def finish(self, decodings: Sequence[Any]) -> list[list[Hypothesis]]:
        """End utterances: return what was found in each, the best first.

        Raises:
            ValueError: logits held NaN or +inf, where that was not known before.
        """
        ...

    def close(self) -> None:
        """Free the device's memory. Utterances cannot go on."""
        ...


class HostDecoders:
    """Decodes with the kernels for the CPU."""

    def __init__(self, options: RecognizerOptions) -> None:
        """Open what decoding takes.

        Raises:
            LanguageModelError: the language model cannot be read.
        """
        self.searches = Searches(options.beam or BeamSearch())
        """Models and options of the search."""
        self._is_beam = options.decoder == "beam"
        self._lock = threading.Lock()
        self._by_language: dict[str, BeamDecoder] = {}

    @property
    def nbest(self) -> int:
        """Different texts that are wanted of an utterance."""
        return self.searches.nbest

    def start(
        self,
        language: str,
        vocabulary: Vocabulary,
        hotwords: Mapping[str, float] | None = None,
    ) -> StreamDecoding:
        """Begin an utterance; see `Decoders.start`."""
        if not self._is_beam:
            if hotwords:
                raise LanguageModelError("hotwords need decoder='beam': greedy does not search")
            return _Greedy()
        try:
            own = None if hotwords is None else make_hotwords(hotwords, vocabulary)
            stream = self._decoder(language, vocabulary).stream(hotwords=own)
        except ValueError as error:
            raise LanguageModelError(f"beam search in {language}: {error}") from error
        return _Beam(stream, self.searches.wanted)

    def _decoder(self, language: str, vocabulary: Vocabulary) -> BeamDecoder:
        with self._lock:
            if language not in self._by_language:
                self._by_language[language] = self._make(vocabulary)
            return self._by_language[language]

    def step(self, steps: Sequence[Step], emission: Emission) -> None:
        """Read a batch; see `Decoders.step`."""
        for step, logits in zip(steps, emission.rows(), strict=True):
            step.decoding.step(logits[step.kept])

    def finish(self, decodings: Sequence[Decoding]) -> list[list[Hypothesis]]:
        """End utterances; see `Decoders.finish`."""
        return [decoding.finish() for decoding in decodings]

    def close(self) -> None:
        """Do nothing: memory goes with the object."""

    def _make(self, vocabulary: Vocabulary) -> BeamDecoder:
        search = self.searches.of(vocabulary)
        return BeamDecoder(
            search.options, lm=search.lm, hotwords=search.hotwords, tokens=search.tokens
        )


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
