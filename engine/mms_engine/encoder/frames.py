"""Frame arithmetic: how many frames the frontend gives, and which samples they are made of."""

from dataclasses import dataclass
from typing import Self

from mms_engine.bundle.manifest import Wav2Vec2


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """The convolutions of the frontend, seen from outside.

    MMS: receptive field 400 samples, stride 320, so 16,000 samples give 49 frames.
    """

    kernels: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.kernels or len(self.kernels) != len(self.strides):
            raise ValueError(
                f"one stride a kernel is needed, got {len(self.kernels)} kernels and "
                f"{len(self.strides)} strides"
            )
        if min(*self.kernels, *self.strides, 1) < 1:
            raise ValueError(f"kernels and strides must be positive: {self}")

    @classmethod
    def of(cls, architecture: Wav2Vec2) -> Self:
        """Return the geometry of a bundle's model."""
        return cls(architecture.conv_kernel, architecture.conv_stride)

    @property
    def stride(self) -> int:
        """Samples between the beginnings of two frames."""
        product = 1
        for stride in self.strides:
            product *= stride
        return product

    @property
    def receptive_field(self) -> int:
        """Samples one frame is made of."""
        return self.samples(1)

    def frames(self, samples: int) -> int:
        """Return how many frames `samples` samples give: floor((n - k) / s) + 1, layer by layer."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            if samples < kernel:
                return 0
            samples = (samples - kernel) // stride + 1
        return samples

    def samples(self, frames: int) -> int:
        """Return the fewest samples that give `frames` frames."""
        if frames <= 0:
            return 0
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            frames = (frames - 1) * stride + kernel
        return frames

    def span(self, start: int, end: int) -> slice:
        """Return the samples that frames `[start, end)` are made of, exactly."""
        begin = start * self.stride
        return slice(begin, begin + self.samples(end - start))
