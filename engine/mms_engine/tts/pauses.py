"""Silence between the sentences of a stream of samples."""

from collections.abc import Iterator

import numpy as np

from mms_engine.types import Float32Array

_FADE_SECONDS = 0.005
"""Time in which a pause falls from the last sample, and rises to the next one."""
_PIECE = 1 << 16
"""Samples of a piece of a long pause: a text may ask for hours."""


class Pauses:
    """Joiner of sentences, with the pauses between them. Used for one stream of samples."""

    def __init__(self, rate: int) -> None:
        """Begin before the first sentence of samples at a rate in Hz."""
        self._rate = rate
        self._last = 0.0
        """Last sample that was made."""
        self._explicit = False
        """Whether the text asks for the silence that is due: then it is kept at the end too."""
        self.has_spoken = False
        """Whether there were samples."""
        self.due = 0
        """Samples of silence before the next sentence."""

    def rest(self, seconds: float) -> None:
        """Add a pause that the text asks for."""
        self.due += round(seconds * self._rate)
        self._explicit = True

    def begin(self) -> None:
        """Begin a sentence: without a pause, it still fades from the one before."""
        if self.has_spoken and not self.due:
            self.rest(2 * _FADE_SECONDS)

    def end(self, seconds: float) -> None:
        """End a sentence, with the pause behind it if another follows."""
        self.due = round(seconds * self._rate)
        self._explicit = False

    def join(self, samples: Float32Array) -> Iterator[Float32Array]:
        """Yield samples `[N]` of a sentence behind the pause that is due, in pieces if it is long.

        The last piece has the samples, and the rest of the pause.
        """
        *silence, rest = self._silence(float(samples[0]) if self.due else 0.0)
        yield from silence
        self.has_spoken = True
        if samples.size:
            self._last = float(samples[-1])
        yield np.concatenate([rest, samples]) if rest.size else samples

    def finish(self) -> Iterator[Float32Array]:
        """Yield the silence at the end, if the text asks for one."""
        if self._explicit and self.due:
            yield from self._silence(0.0)

    def _silence(self, following: float) -> Iterator[Float32Array]:
        """Yield the pause that is due: from the last sample to silence to the next, smoothly."""
        due, self.due = self.due, 0
        fade = min(round(_FADE_SECONDS * self._rate), due // 2)
        ramp = 0.5 * (1 + np.cos(np.pi * np.arange(1, fade + 1) / (fade + 1)))
        # The last piece is the longest, so that either fade is in one piece.
        ends = [*range(_PIECE, due - _PIECE, _PIECE), due]
        begin = 0
        for end in ends:
            piece = np.zeros(end - begin, np.float32)
            if begin == 0:
                piece[:fade] = self._last * ramp
            if end == due and fade:
                piece[-fade:] = following * ramp[::-1]
            yield piece
            begin = end
