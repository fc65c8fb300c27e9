"""Silence between the sentences of a stream of samples."""

import numpy as np

from mms_engine.types import Float32Array

_FADE_SECONDS = 0.005
"""Time in which a pause falls from the last sample, and rises to the next one."""


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

    def join(self, samples: Float32Array) -> Float32Array:
        """Return samples `[N]` of a sentence, with the pause that is due before them."""
        if self.due:
            samples = np.concatenate([self._silence(float(samples[0])), samples])
        self.has_spoken = True
        if samples.size:
            self._last = float(samples[-1])
        return samples

    def finish(self) -> Float32Array:
        """Return the silence at the end, if the text asks for one."""
        return self._silence(None) if self._explicit else np.zeros(0, np.float32)

    def _silence(self, following: float | None) -> Float32Array:
        """Return the pause that is due: from the last sample to silence to the next, smoothly."""
        silence = np.zeros(self.due, np.float32)
        fade = min(round(_FADE_SECONDS * self._rate), self.due // 2)
        if fade:
            ramp = 0.5 * (1 + np.cos(np.pi * np.arange(1, fade + 1) / (fade + 1)))
            silence[:fade] = self._last * ramp
            if following is not None:
                silence[-fade:] = following * ramp[::-1]
        self.due = 0
        return silence
