"""Decoder of the current utterance of a stream: logits in, partial and final text out."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mms_engine.decoding.interface import StreamDecoding
from mms_engine.decoding.transcript import UtteranceInfo, text_of, transcript
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Float32Array, Transcript, Word


@dataclass(frozen=True, slots=True)
class PartialText:
    """Text of an utterance so far."""

    text: str
    words: tuple[Word, ...]
    stable_chars: int

    def revocable(self, seconds: float) -> "PartialText":
        """Return the same text, whose words that end after a time may still change."""
        settled = 0
        for word in self.words:
            if word.end > seconds:
                return replace(self, stable_chars=min(self.stable_chars, settled))
            settled = self.text.index(word.text, settled) + len(word.text)
        return self


class UtteranceDecoder:
    """Decoder of an utterance between two endpoints.

    Its logits are kept, so that another process can continue it: decoders that read them again
    reach the same state, bit by bit.
    """

    def __init__(
        self,
        language: str,
        vocabulary: Vocabulary,
        start: Callable[[], StreamDecoding],
        *,
        frame_seconds: float,
    ) -> None:
        """Begin at frame 0; `start` returns the decoder of an utterance."""
        self._language = language
        self._vocabulary = vocabulary
        self._start = start
        self._frame_seconds = frame_seconds
        self._is_text = np.array([vocabulary.is_text(i) for i in range(len(vocabulary))])
        self.begin(0)

    def begin(self, frame: int) -> None:
        """Begin an utterance at a frame of the stream."""
        self.frame = frame
        self.frames = 0
        self.logits: list[Float32Array] = []
        self._decoding = self._start()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Words of the language model and hotwords that cannot be used."""
        return self._decoding.warnings

    def step(self, logits: Float32Array) -> None:
        """Decode the next frames, float32 `[N, V]`.

        Raises:
            ValueError: they hold NaN or +inf.
        """
        if len(logits):
            self._decoding.step(logits)
            self.logits.append(logits)
            self.frames += len(logits)

    def cut(self, frame: int) -> None:
        """Take back what was decoded from a frame of the stream on."""
        logits = np.concatenate(self.logits)[: frame - self.frame]
        self.begin(self.frame)
        self.step(logits)

    def partial(self, tail: Float32Array) -> PartialText:
        """Return the text so far, including frames after those decoded, float32 `[M, V]`."""
        hypothesis, stable = self._decoding.partial(tail)
        whole = transcript([hypothesis], self._info(self.frames + len(tail)), 1)
        settled = text_of(hypothesis, self._vocabulary, stable)
        return PartialText(whole.text, whole.words, len(settled))

    def finish(self, nbest: int) -> Transcript:
        """Return the transcript of the utterance, which ends."""
        return transcript(self._decoding.finish(), self._info(self.frames), nbest)

    def _info(self, frames: int) -> UtteranceInfo:
        seconds = self._frame_seconds
        duration = round(frames * seconds, 6)
        return UtteranceInfo(self._language, self._vocabulary, duration, seconds, self.frame)

    def speech(self, logits: Float32Array) -> npt.NDArray[np.bool_]:
        """Return whether the best token of each frame is part of a word, bool `[N]`."""
        speech: npt.NDArray[np.bool_] = self._is_text[logits.argmax(axis=-1)]
        return speech
