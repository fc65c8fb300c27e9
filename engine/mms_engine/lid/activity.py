"""Speech activity by level: frames that stand out of a recording's steady background.

It separates speech from silence, hum and steady noise; music and other voices count as speech.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from mms_engine.types import Float32Array

BoolArray = npt.NDArray[np.bool_]

_SILENCE_DB = -75.0
"""Level of the differentiated signal below which a frame is silent, dB of full scale: speech at
-50 dB is about 10 dB above it, the rounding of 16 bits 20 dB below."""
_FLOOR_SHARE = 0.1
"""Share of the frames that are not silent taken for the background."""
_MARGIN_DB = 6.0
"""Level of speech above the background; white noise stays within 2 dB."""


class FrameLevels:
    """Levels of a recording's frames, measured while its samples pass; 4 bytes a frame."""

    def __init__(self, frame: int) -> None:
        """Measure frames of `frame` samples."""
        self._frame = frame
        self._rest: Float32Array = np.zeros(0, np.float32)
        self._levels: list[Float32Array] = []
        self.samples = 0
        """Samples that have passed."""

    def measured(self, pieces: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield pieces `[N]` of the recording as they are, and measure them."""
        for piece in pieces:
            self.samples += len(piece)
            joined = np.concatenate([self._rest, piece])
            whole = len(joined) // self._frame * self._frame
            self._levels.append(self._measure(joined[:whole]))
            self._rest = joined[whole:]
            yield piece

    def _measure(self, samples: Float32Array) -> Float32Array:
        """Return the levels of whole frames in dB.

        The difference of neighbouring samples flattens the spectrum of hum and rumble, whose level
        varies between frames, and removes an offset.
        """
        steps = np.diff(samples.reshape(-1, self._frame), axis=1)
        power = np.square(steps, dtype=np.float64).mean(axis=1)
        levels: Float32Array = (10 * np.log10(np.maximum(power, 1e-20))).astype(np.float32)
        return levels

    def speech(self) -> BoolArray:
        """Return whether each whole frame so far is speech, bool `[T]`."""
        levels = np.concatenate([np.zeros(0, np.float32), *self._levels])
        audible = levels[levels > _SILENCE_DB]
        if not len(audible):
            return np.zeros(len(levels), np.bool_)
        background = float(np.quantile(audible, _FLOOR_SHARE))
        speech: BoolArray = (levels > _SILENCE_DB) & (levels >= background + _MARGIN_DB)
        return speech
