"""The audio of a stream that has not been used up, and the statistics of what was."""

from typing import Any

import numpy as np

from mms_engine.audio.normalization import Normalization
from mms_engine.frames import FrameGeometry
from mms_engine.streaming.normalizer import RunningNormalization
from mms_engine.streaming.options import NormalizationOptions
from mms_engine.types import Float32Array

_QUIETEST = 1e-5
"""Level that is silence in any case: -100 dB."""


class Heard:
    """Samples by their frame. Frame t is made of samples from `t * stride` on."""

    def __init__(
        self,
        geometry: FrameGeometry,
        normalization: NormalizationOptions,
        sample_rate: int,
        *,
        normalize: bool = True,
    ) -> None:
        self._geometry = geometry
        self._normalize = normalize
        self._first = 0
        self._samples: Float32Array = np.zeros(0, np.float32)
        self._running = RunningNormalization(normalization, sample_rate, geometry.stride)
        self._measured = 0

    @property
    def end(self) -> int:
        """Samples that came so far."""
        return self._first + len(self._samples)

    @property
    def frames(self) -> int:
        """Frames whose audio is there."""
        tail = self.end - self._geometry.receptive_field
        return tail // self._geometry.stride + 1 if tail >= 0 else 0

    def add(self, samples: Float32Array) -> None:
        """Take in samples, float32 `[N]`."""
        if len(samples):
            self._samples = np.concatenate([self._samples, samples])

    def measure(self, frames: int) -> None:
        """Bring the statistics forward to the beginning of a frame."""
        end = frames * self._geometry.stride
        if end > self._measured:
            self._running.hear(self.samples(self._measured, end))
            self._measured = end

    def pass_over(self, frames: int) -> None:
        """Leave audio before the beginning of a frame out of the statistics."""
        self._measured = max(self._measured, frames * self._geometry.stride)

    def is_quiet(self, start: int, end: int, quiet_db: float) -> bool:
        """Whether each of frames `[start, end)` is so far below the level of speech."""
        stride = self._geometry.stride
        blocks = self.samples(start * stride, end * stride).reshape(-1, stride)
        levels = np.sqrt(np.square(blocks.astype(np.float64)).mean(axis=1))
        return bool((levels < max(_QUIETEST, self._running.level * 10 ** (-quiet_db / 20))).all())

    def normalized(self, start: int, end: int) -> Float32Array:
        """Return the samples that frames `[start, end)` are made of, by the present statistics."""
        span = self._geometry.span(start, end)
        return self.normalization.apply(self.samples(span.start, span.stop))

    @property
    def normalization(self) -> Normalization:
        """The present statistics; for a model that takes sound as it is, no change."""
        return self._running.current() if self._normalize else Normalization(0.0, 1.0)

    def forget(self, frame: int) -> None:
        """Forget what lies before a frame."""
        start = min(frame * self._geometry.stride, self._measured)
        if start > self._first:
            self._samples = self._samples[start - self._first :]
            self._first = start

    def samples(self, start: int, end: int) -> Float32Array:
        """Return samples `[start, end)`, counted from the start of the stream."""
        return self._samples[start - self._first : end - self._first]

    def state(self) -> dict[str, Any]:
        """Return all that has to be known to go on elsewhere."""
        return {
            "first": self._first,
            "samples": self._samples,
            "measured": self._measured,
            "moments": self._running.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._first, self._samples = state["first"], state["samples"]
        self._measured = state["measured"]
        self._running.restore(state["moments"])
