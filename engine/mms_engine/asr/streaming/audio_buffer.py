"""Audio buffer of a stream: samples that later steps need, and running statistics."""

from typing import Any

import numpy as np

from mms_engine.audio.normalization import EPSILON, Normalization
from mms_engine.audio.running_norm import NormalizationOptions, RunningNormalization
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.types import Float32Array

_QUIETEST = 1e-5
"""Level below which audio is silence in any case: -100 dB."""


class AudioBuffer:
    """Samples indexed by frame. Frame t begins at sample `t * stride`."""

    def __init__(
        self,
        geometry: FrameGeometry,
        normalization: NormalizationOptions,
        sample_rate: int,
        *,
        epsilon: float | None = EPSILON,
    ) -> None:
        """Create an empty buffer.

        Args:
            geometry: Frames of the frontend.
            normalization: Running statistics.
            sample_rate: Sample rate in Hz.
            epsilon: Addend of the variance; `None` to leave audio as it is.
        """
        self._geometry = geometry
        self._normalize = epsilon is not None
        self._first = 0
        self._samples: Float32Array = np.zeros(0, np.float32)
        self._running = RunningNormalization(
            normalization, sample_rate, geometry.stride, epsilon or EPSILON
        )
        self._measured = 0

    @property
    def end(self) -> int:
        """Samples added so far."""
        return self._first + len(self._samples)

    @property
    def frames(self) -> int:
        """Frames whose audio is complete."""
        tail = self.end - self._geometry.receptive_field
        return tail // self._geometry.stride + 1 if tail >= 0 else 0

    def add(self, samples: Float32Array) -> None:
        """Add samples, float32 `[N]`."""
        if len(samples):
            self._samples = np.concatenate([self._samples, samples])

    def measure(self, frames: int) -> None:
        """Update the statistics up to the start of a frame."""
        end = frames * self._geometry.stride
        if end > self._measured:
            self._running.update(self.samples(self._measured, end))
            self._measured = end

    def skip(self, frames: int) -> None:
        """Exclude audio before the start of a frame from the statistics."""
        self._measured = max(self._measured, frames * self._geometry.stride)

    def is_quiet(self, start: int, end: int, quiet_db: float) -> bool:
        """Whether frames `[start, end)` are all `quiet_db` below the running level of speech."""
        stride = self._geometry.stride
        blocks = self.samples(start * stride, end * stride).reshape(-1, stride)
        levels = np.sqrt(np.square(blocks.astype(np.float64)).mean(axis=1))
        return bool((levels < max(_QUIETEST, self._running.level * 10 ** (-quiet_db / 20))).all())

    def normalized(self, start: int, end: int) -> Float32Array:
        """Return the samples of frames `[start, end)`, normalised by the current statistics."""
        span = self._geometry.span(start, end)
        return self.normalization.apply(self.samples(span.start, span.stop))

    @property
    def normalization(self) -> Normalization:
        """Current statistics; the identity for a model without normalisation."""
        return self._running.current() if self._normalize else Normalization(0.0, 1.0)

    def forget(self, frame: int) -> None:
        """Drop audio before a frame."""
        start = min(frame * self._geometry.stride, self._measured)
        if start > self._first:
            self._samples = self._samples[start - self._first :]
            self._first = start

    def samples(self, start: int, end: int) -> Float32Array:
        """Return samples `[start, end)`, counted from the start of the stream."""
        return self._samples[start - self._first : end - self._first]

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        return {
            "first": self._first,
            "samples": self._samples,
            "measured": self._measured,
            "moments": self._running.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self._first, self._samples = state["first"], state["samples"]
        self._measured = state["measured"]
        self._running.restore(state["moments"])
