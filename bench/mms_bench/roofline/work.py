"""Work of one run, from a model's sizes: operations and bytes of each block of the graphs.

A product of `[N, K]` by `[K, M]` counts 2NKM floating-point operations. Weights are read once per
run. The operations are those of the exported graphs (`mms_export.graphs`), in their order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.types import Precision

Stage = Literal[
    "convolutions", "projection", "positions", "attention", "feed-forward", "adapters", "head"
]
ITEMSIZE: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
"""Bytes of an operand."""
_FLOAT = 4
# Float32 operations per element, at least; an addition takes one, a copy none.
_GELU, _NORM, _SOFTMAX = 8, 6, 4


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
    precision: Precision = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Operations between two points where the residual stream is written."""

    stage: Stage
    repeats: int = 1
    """Number of such blocks in a run, each with its own weights."""
    products: float
    """Floating-point operations of the matrix products."""
    elements: float
    """Float32 operations between the products."""
    weights: float
    """Bytes."""
    edges: tuple[float, ...]
    """Bytes of each input and output, which no fusion can avoid."""


def blocks(architecture: Wav2Vec2Ctc, load: Load) -> tuple[Block, ...]:
    """Return the work of frontend and encoder for one run."""
    builder = _Builder(architecture, load)
    return (*builder.convolutions(), *builder.encoder())


@dataclass(frozen=True, slots=True)
class _Builder:
    sizes: Wav2Vec2Ctc
    load: Load

    @property
    def _item(self) -> int:
        return ITEMSIZE[self.load.precision]

    @property
    def _frames(self) -> int:
        return self.load.rows * self.load.frames

    @property
    def _stream(self) -> float:
        """Bytes of the residual stream, float32."""
        return float(self._frames * self.sizes.hidden_size * _FLOAT)

    def convolutions(self) -> Iterator[Block]:
        """Yield each layer of the frontend."""
        sizes, rows = self.sizes, self.load.rows
        length = FrameGeometry.of(sizes).samples(self.load.frames)
        last = len(sizes.conv_dim) - 1
        before = 1
        layers = zip(sizes.conv_dim, sizes.conv_kernel, sizes.conv_stride, strict=True)
        for index, (after, kernel, stride) in enumerate(layers):
            read = rows * length * before
            length = (length - kernel) // stride + 1
            values = rows * length
            inputs, result = before * kernel, float(values * after)
            yield Block(
                stage="convolutions",
                products=2.0 * values * inputs * after,
                elements=result * (1 + _NORM + _GELU),
                weights=(inputs + 1) * after * self._item + 2 * after * _FLOAT,
                edges=(
                    float(read * (self._item if index else _FLOAT)),
                    result * (_FLOAT if index == last else self._item),
                ),
            )
            before = after

    def encoder(self) -> Iterator[Block]:
        """Yield the blocks of the encoder."""
        sizes, item, frames, stream = self.sizes, self._item, self._frames, self._stream
        hidden = sizes.hidden_size
        values = float(frames * hidden)
        features = float(frames * sizes.feature_size)
        yield Block(
            stage="projection",
            products=2 * features * hidden,
            elements=features * _NORM + values,
            weights=(sizes.feature_size + 1) * hidden * item + 2 * sizes.feature_size * _FLOAT,
            edges=(features * _FLOAT, stream),
        )
        kernel = sizes.num_conv_pos_embeddings * hidden // sizes.num_conv_pos_embedding_groups
        yield Block(
            stage="positions",
            products=2 * values * kernel,
            elements=values * (_GELU + 2),
            weights=(kernel + 1) * hidden * item,
            edges=(stream, stream),
        )
        yield from self._layers()
        head = float(self.load.vocab * (hidden + 1) * item)
        logits = float(frames * self.load.vocab)
        yield Block(
            stage="head",
            products=2 * values * self.load.vocab,
            elements=values * _NORM + logits,
            weights=self.load.languages * head + 2 * hidden * _FLOAT,
            edges=(stream, logits * _FLOAT),
        )

    def _layers(self) -> Iterator[Block]:
        sizes, item, frames, stream = self.sizes, self._item, self._frames, self._stream
        hidden, layers = sizes.hidden_size, sizes.num_hidden_layers
        values, norm = float(frames * hidden), 2 * hidden * _FLOAT
        scores = float(frames * self.load.frames * sizes.num_attention_heads)
        yield Block(
            stage="attention",
            repeats=layers,
            products=8 * values * hidden + 4 * values * self.load.frames,
            elements=values * (_NORM + 5) + scores * (1 + _SOFTMAX),
            weights=4 * (hidden + 1) * hidden * item + norm,
            edges=(stream, stream),
        )
        wide = float(frames * sizes.intermediate_size)
        yield Block(
            stage="feed-forward",
            repeats=layers,
            products=4 * wide * hidden,
            elements=values * (_NORM + 2) + wide * (1 + _GELU),
            weights=((2 * hidden + 1) * sizes.intermediate_size + hidden) * item + norm,
            edges=(stream, stream),
        )
        adapter = sizes.adapter_parameters / layers * item
        yield Block(
            stage="adapters",
            repeats=layers,
            products=4 * values * sizes.adapter_attn_dim,
            elements=values * (_NORM + 2),
            weights=adapter * self.load.languages,
            edges=(stream, stream),
        )
