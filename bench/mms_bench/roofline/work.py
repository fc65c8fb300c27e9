"""Work of one run, from a model's sizes: operations and bytes of each block of the graphs.

A product of `[N, K]` by `[K, M]` counts 2NKM floating-point operations. Weights are read once per
run. The products are those of the exported graphs (`mms_export.graphs`), in their order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry

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
