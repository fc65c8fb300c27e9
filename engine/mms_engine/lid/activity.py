"""Speech activity by level: frames that stand out of a recording's steady background.

It separates speech from silence, hum and steady noise; music and sudden noise count as speech.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.types import Float32Array

BoolArray = npt.NDArray[np.bool_]

_SILENCE_DB = -75.0
"""Level of the differentiated signal below which a frame is silent, dB of full scale: speech at
-50 dB is about 10 dB above it, the rounding of 16 bits 20 dB below."""
_FLOOR_SHARE = 0.1
"""Share of the frames that are not silent taken for the background."""
_BANDS = ((200.0, 1000.0), (1000.0, 4000.0))
"""Hz: voices are loudest in the first, and most steady noise is not."""
_MARGIN_DB = 7.0
"""Level of speech above the background of a band; steady noise stays below."""
_LEAKAGE_DB = -40.0
"""Level of a band, relative to its frame, that may come from other frequencies."""
_BLOCK = 1 << 10
"""Frames that are measured together."""


class FrameLevels:
    """Levels of a recording's frames, measured while its samples pass; 12 bytes a frame."""

    def __init__(self, frame: int, sample_rate: int) -> None:
        """Measure frames of `frame` samples."""
        self._frame = frame
        self._rest: Float32Array = np.zeros(0, np.float32)
        self._levels: list[Float32Array] = [np.zeros((0, 1 + len(_BANDS)), np.float32)]
        self._window = np.hanning(frame - 1).astype(np.float32)
        hertz = np.fft.rfftfreq(frame - 1, 1 / sample_rate)
        self._bands = [(hertz >= low) & (hertz < high) for low, high in _BANDS]
        self.samples = 0
        """Samples that have passed."""

    def measured(self, pieces: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield pieces `[N]` of the recording as they are, and measure them."""
        for piece in pieces:
            self.add(piece)
            yield piece

    def add(self, piece: Float32Array) -> None:
        """Measure the next samples `[N]`."""
        self.samples += len(piece)
        joined = np.concatenate([self._rest, piece])
        whole = len(joined) // self._frame * self._frame
        frames = joined[:whole].reshape(-1, self._frame)
        for start in range(0, len(frames), _BLOCK):
            self._levels.append(self._measure(frames[start : start + _BLOCK]))
        self._rest = joined[whole:].copy()

    def keep(self, frames: int) -> None:
        """Forget all but the last frames; `speech` returns those that are left."""
        self._levels = [np.concatenate(self._levels)[-frames:]]

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        levels = np.concatenate(self._levels)
        return {"rest": self._rest, "levels": levels, "samples": self.samples}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self._rest, self._levels = state["rest"], [state["levels"]]
        self.samples = state["samples"]

    def _measure(self, frames: Float32Array) -> Float32Array:
        """Return the levels of frames `[T, N]` in dB: of the whole frame, then of each band.

        The difference of neighbouring samples removes an offset and what of hum and rumble would
        leak into the bands.
        """
        steps = np.diff(frames, axis=1)
        power = [np.square(steps, dtype=np.float64).mean(axis=1)]
        spectrum = np.square(np.abs(np.fft.rfft(steps * self._window, axis=1)))
        # As the mean square of the part of the windowed steps in the band.
        scale = 2 / (steps.shape[1] * float(np.square(self._window, dtype=np.float64).sum()))
        power += [scale * spectrum[:, band].sum(axis=1) for band in self._bands]
        levels: Float32Array = (10 * np.log10(np.maximum(power, 1e-20))).T.astype(np.float32)
        return levels

    def speech(self) -> BoolArray:
        """Return whether each whole frame so far is speech, bool `[T]`."""
        levels = np.concatenate(self._levels)
        whole, bands = levels[:, 0], levels[:, 1:]
        audible = whole > _SILENCE_DB
        if not audible.any():
            return audible
        background = np.quantile(bands[audible], _FLOOR_SHARE, axis=0)
        stands_out = bands >= background + _MARGIN_DB
        is_own = bands >= whole[:, np.newaxis] + _LEAKAGE_DB
        loud = audible & (stands_out & is_own).any(axis=1)
        # Noise exceeds the margin in single frames, a syllable in several.
        padded = np.pad(loud, 1)
        speech: BoolArray = loud & (padded[:-2] | padded[2:])
        return speech
