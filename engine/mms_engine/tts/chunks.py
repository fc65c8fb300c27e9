"""Chunks of the decoder: their sizes, and the context that makes them equal the whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from mms_engine.bundle.manifest import Vits
from mms_engine.tensorrt.buckets import round_up

STREAMED = (4, 8, 16, 64)
"""Frames of the chunks of a stream, the last for all further ones."""
WHOLE = (256,)
"""Frames of the chunks where nobody waits for the first: less of the work is context."""
_POST_KERNEL = 7
LEAST_WINDOW = 66
"""Least columns of a matrix product of ONNX Runtime's CPU kernels for which the result does not
depend on their number: at 64 and below, the products are blocked otherwise."""
RUN_THREADS = 2
"""Most threads of a run on a CPU."""
LEAST_SHARED = 145
"""Least columns of which each of two threads gets more than 64, in multiples of 16, so that the
result does not depend on the number of threads."""


@dataclass(frozen=True, slots=True)
class Window:
    """A chunk in steps of the decoder, or frames, and the context it is computed with."""

    start: int
    end: int
    first: int
    """Step at which the context begins."""
    last: int
    """Step behind the context."""


def margin_steps(model: Vits) -> int:
    """Return the steps of context on each side on which a step of the decoder depends.

    A step is a column of the decoder's input, which the first up-sampler has widened to
    `upsample_rates[0]` a frame. By interval arithmetic from a sample back through the last
    convolution, and each stage's residual blocks and up-sampler: 74 for the sizes of MMS.
    """
    blocks = max(
        sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations)
        for kernel, dilations in zip(
            model.resblock_kernel_sizes, model.resblock_dilation_sizes, strict=True
        )
    )
    scale = 1
    for rate in model.upsample_rates[1:]:
        scale *= rate
    # Both edges of one step's samples, which a transposed convolution does not treat alike.
    low, high = -(_POST_KERNEL // 2), scale - 1 + _POST_KERNEL // 2
    stages = zip(model.upsample_rates, model.upsample_kernel_sizes, strict=True)
    for rate, kernel in reversed(list(stages)[1:]):
        padding = (kernel - rate) // 2
        low, high = low - blocks, high + blocks
        low = -((kernel - 1 - padding - low) // rate)
        high = (high + padding) // rate
    return max(-(low - blocks), high + blocks)


def margin_frames(model: Vits) -> int:
    """Return the frames of context on each side on which a frame of the flow graph depends.

    36 for the sizes of MMS: the flow's wavenets, the decoder's first convolution and up-sampler.
    """
    reach = (model.wavenet_kernel_size - 1) // 2
    layers = range(model.prior_encoder_num_wavenet_layers)
    wavenet = reach * sum(int(model.wavenet_dilation_rate**layer) for layer in layers)
    rate, kernel = model.upsample_rates[0], model.upsample_kernel_sizes[0]
    padding = (kernel - rate) // 2
    # Frames before that of the first step of a frame, or behind that of its last.
    widened = max((kernel - 1 - padding) // rate, (rate - 1 + padding) // rate)
    return model.prior_encoder_num_flows * wavenet + _POST_KERNEL // 2 + widened


def frame_windows(frames: int, most: int, margin: int) -> Iterator[Window]:
    """Yield the parts of a sentence, in frames, with their contexts; none is wider than `most`."""
    start = 0
    while start < frames:
        first = max(0, start - margin)
        last = min(frames, first + most)
        end = last if last == frames else last - margin
        yield Window(start, end, first, last)
        start = end


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder that its chunks depend on."""

    rate: int
    """Steps per frame."""
    margin: int
    """Steps of context on each side."""
    channels: int
    """Channels of a step, which threads divide instead of fewer steps; this is exact."""
    on_cpu: bool = True
    """Whether a CPU computes, whose products depend on the number of their columns. On a GPU
    columns are rounded up, so that there are few distinct shapes: a shape that comes again is a
    CUDA graph."""

    @classmethod
    def of(cls, model: Vits, device: str = "cpu") -> Self:
        """Return the sizes of a model on a device, `cpu` or `cuda`."""
        rate, channels = model.upsample_rates[0], model.channels(0)
        return cls(rate, margin_steps(model), channels, device == "cpu")

    def least(self, width: int) -> int:
        """Return at least `width` steps that neither their number nor threads give other bits."""
        if not self.on_cpu:
            return round_up(width)
        width = max(width, LEAST_WINDOW)
        return width if width <= self.channels else max(width, LEAST_SHARED)

    def columns(self, count: int) -> int:
        """Return at least `count` columns of a whole sentence, of tokens or of frames."""
        return max(count, LEAST_SHARED) if self.on_cpu else round_up(count)


def windows(
    steps: int, shape: Shape, begin: int = 0, sizes: Sequence[int] = STREAMED
) -> Iterator[Window]:
    """Yield the chunks of a sentence.

    The windows of a very short sentence end behind it.

    Args:
        steps: Steps of the sentence.
        shape: Sizes of the decoder.
        begin: First step that is wanted.
        sizes: Frames of the chunks, the last for all further ones.
    """
    start, number = begin, 0
    while start < steps:
        frames = sizes[min(number, len(sizes) - 1)]
        end = min(steps, start + frames * shape.rate)
        first, last = max(0, start - shape.margin), min(steps, end + shape.margin)
        width = shape.least(last - first)
        first = max(0, min(first, steps - width))  # grow towards the inside
        yield Window(start, end, first, max(last, first + width))
        start, number = end, number + 1
