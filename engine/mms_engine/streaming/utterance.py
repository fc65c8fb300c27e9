"""The utterance that is being spoken: logits in, partial and final text out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.decode import Utterance, transcript
from mms_engine.decoders import StreamDecoding
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Float32Array, Transcript, Word


@dataclass(frozen=True, slots=True)
class TextSoFar:
    """What an utterance reads as so far."""

    text: str
    words: tuple[Word, ...]
    stable_chars: int


class Spoken:
    """An utterance between two endpoints.

    Its logits are kept, so that another process can take it up: decoders read them again, and are
    then where these are, to the bit.
    """

    def __init__(
        self,
        language: str,
        vocabulary: Vocabulary,
        start: Callable[[], StreamDecoding],
        *,
        frame_seconds: float,
    ) -> None:
        self._language = language
        self._vocabulary = vocabulary
        self._start = start
        self._frame_seconds = frame_seconds
        self._is_text = np.array([vocabulary.is_text(i) for i in range(len(vocabulary))])
        self.begin(0)

    def begin(self, frame: int) -> None:
        """A new utterance begins at a frame of the stream."""
        self.frame = frame
        self.frames = 0
        self.logits: list[Float32Array] = []
        self._decoding = self._start()

    def hear(self, logits: Float32Array) -> None:
        """Read the next frames, float32 `[N, V]`.

        Raises:
            ValueError: they hold NaN or +inf.
        """
        if len(logits):
            self._decoding.step(logits)
            self.logits.append(logits)
            self.frames += len(logits)

    def reading(self, tail: Float32Array) -> TextSoFar:
        """Return what it reads as, frames behind those heard included, float32 `[M, V]`."""
        hypothesis, stable = self._decoding.partial(tail)
        whole = transcript([hypothesis], self._utterance(self.frames + len(tail)), 1)
        settled = self._vocabulary.text(hypothesis.tokens[:stable].tolist())
        return TextSoFar(whole.text, whole.words, len(settled))

    def finish(self, nbest: int) -> Transcript:
        """Return its transcript. It can hear no more."""
        return transcript(self._decoding.finish(), self._utterance(self.frames), nbest)

    def _utterance(self, frames: int) -> Utterance:
        seconds = self._frame_seconds
        duration = round(frames * seconds, 6)
        return Utterance(self._language, self._vocabulary, duration, seconds, self.frame)

    def speech(self, logits: Float32Array) -> npt.NDArray[np.bool_]:
        """Return which frames' best token is part of a word, bool `[N]`."""
        speech: npt.NDArray[np.bool_] = self._is_text[logits.argmax(axis=-1)]
        return speech
