"""Roofline model: the least time of a run, block by block, from a model's sizes and a data sheet.

A block takes max(products / peak, bytes / bandwidth); the blocks of a run depend on each other, so
their times add up. Launches, waiting and everything else that a program adds are left out: this is
a bound. (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009.)

A product of `[N, K]` by `[K, M]` counts 2NKM floating-point operations. Weights are read once per
run. The products are those of the exported graphs (`mms_export.graphs`), in their order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mms_bench.errors import BenchError
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.types import Precision

_FLOAT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Sizes of one run."""

    rows: int
    """B: utterances."""
    frames: int
    """T: frames of each, 20 ms apart."""
    languages: int = 1
    """Distinct languages of the rows."""
    vocab: int = 256
    """V: tokens that a head has room for."""
    itemsize: int = 2
    """Bytes of an operand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Operations between two points where the residual stream is written."""

    repeats: int = 1
    """Number of such blocks in a run, each with its own weights."""
    products: float
    """Floating-point operations of the matrix products."""
    weights: float
    """Bytes."""
    edges: tuple[float, ...]
    """Bytes of each input and output, which no fusion can avoid."""


def blocks(sizes: Wav2Vec2Ctc, load: Load) -> list[Block]:
    """Return the work of frontend and encoder for one run."""
    frames, hidden, width = load.rows * load.frames, sizes.hidden_size, sizes.feature_size
    wide, inner, layers = sizes.intermediate_size, sizes.adapter_attn_dim, sizes.num_hidden_layers
    kernel = sizes.num_conv_pos_embeddings * hidden // sizes.num_conv_pos_embedding_groups

    def linear(
        *shapes: tuple[int, int],
        repeats: int = 1,
        products: int = 0,
        copies: int = 1,
        norm: int = 0,
        channels: tuple[int, int] = (hidden, hidden),
    ) -> Block:
        """Return linear layers `[K, M]` with other products per frame."""
        weights = copies * load.itemsize * sum((k + 1) * m for k, m in shapes)
        return Block(
            repeats=repeats,
            products=frames * (products + sum(2 * k * m for k, m in shapes)),
            weights=weights + 2 * norm * _FLOAT,
            edges=tuple(frames * count * _FLOAT for count in channels),
        )

    projection = linear((width, hidden), norm=width, channels=(width, hidden))
    positions = linear((kernel, hidden))
    scores = 4 * hidden * load.frames
    attention = linear(*[(hidden, hidden)] * 4, repeats=layers, products=scores, norm=hidden)
    feed_forward = linear((hidden, wide), (wide, hidden), repeats=layers, norm=hidden)
    adapters = linear((hidden, inner), (inner, hidden), repeats=layers, copies=load.languages)
    output = (hidden, load.vocab)
    head = linear(output, copies=load.languages, norm=hidden, channels=output)
    convolutions = _convolutions(sizes, load)
    return [*convolutions, projection, positions, attention, feed_forward, adapters, head]


def _convolutions(sizes: Wav2Vec2Ctc, load: Load) -> Iterator[Block]:
    item, length = load.itemsize, FrameGeometry.of(sizes).samples(load.frames)
    inputs, read = 1, load.rows * length * _FLOAT
    layers = list(zip(sizes.conv_dim, sizes.conv_kernel, sizes.conv_stride, strict=True))
    for number, (outputs, kernel, stride) in enumerate(layers, 1):
        length = (length - kernel) // stride + 1
        values = load.rows * length * outputs
        written = values * (_FLOAT if number == len(layers) else item)
        yield Block(
            products=2 * values * inputs * kernel,
            weights=(inputs * kernel + 1) * outputs * item + 2 * outputs * _FLOAT,
            edges=(read, written),
        )
        inputs, read = outputs, written


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Data sheet of a GPU; gpus.toml has the units."""

    key: str
    name: str
    fp16: float
    bf16: bool
    fp32: float
    bandwidth: float
    cache: float
    source: str

    def peak(self, precision: Precision) -> float | None:
        """Return floating-point operations per second in products, `None` if unsupported."""
        if precision == "fp32":
            return self.fp32 * 1e12
        return self.fp16 * 1e12 if precision == "fp16" or self.bf16 else None


def gpus() -> tuple[Gpu, ...]:
    """Return all data sheets."""
    content = Path(__file__).with_name("gpus.toml").read_bytes()
    return msgspec.toml.decode(content, type=dict[str, tuple[Gpu, ...]])["gpu"]


def bound(work: Sequence[Block], precision: Precision, gpu: Gpu) -> dict[str, float]:
    """Return the seconds of the blocks limited by `products` and by `bandwidth`."""
    peak, cache = gpu.peak(precision), gpu.cache * 1e6
    if peak is None:
        raise BenchError(f"{gpu.name} has no products in {precision}")
    resident = sum(block.weights * block.repeats for block in work) <= cache
    limits = {"products": 0.0, "bandwidth": 0.0}
    for block in work:
        moved = 0.0 if resident else block.weights
        moved += sum(size for size in block.edges if size > cache)
        products, bandwidth = block.products / peak, moved / (gpu.bandwidth * 1e9)
        limit = "products" if products > bandwidth else "bandwidth"
        limits[limit] += max(products, bandwidth) * block.repeats
    return limits
