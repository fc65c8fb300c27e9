"""The work of one run: products, element-wise operations and bytes, from a bundle's sizes.

A product of `[N, K]` by `[K, M]` counts 2NKM floating-point operations. Weights are read once a
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
Kind = Literal["product", "add", "copy", "gelu", "layer_norm", "softmax"]
ELEMENTS: tuple[Kind, ...] = ("add", "copy", "gelu", "layer_norm", "softmax")
FRONTEND: tuple[Stage, ...] = ("convolutions",)
ENCODER: tuple[Stage, ...] = (
    "projection",
    "positions",
    "attention",
    "feed-forward",
    "adapters",
    "head",
)
ITEMSIZE: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 4}
"""Bytes of an operand. The 8-bit products of int8 are counted where they are."""
_FLOAT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One run."""

    rows: int
    """B: utterances."""
    frames: int
    """T of each, 20 ms apart."""
    languages: int = 1
    """Different ones among the rows."""
    vocab: int = 256
    """V: tokens a head has room for."""
    precision: Precision = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of work of a block."""

    kind: Kind
    amount: float
    """Floating-point operations of a product, elements of anything else."""
    quantized: bool = False
    """Whether the product is one of 8-bit integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Operations between two points where the residual stream is written."""

    stage: Stage
    repeats: int = 1
    """How often a run has it, each time with weights of its own."""
    operations: tuple[Operation, ...]
    weights: float
    """Bytes."""
    edges: tuple[float, ...]
    """Bytes of each tensor that comes in or goes out, which no fusion can avoid."""
    inner: tuple[float, ...] = ()
    """Bytes of each tensor in between, written and read where the block is not fused."""

    def total(self, *kinds: Kind) -> float:
        """Return the amount of some kinds of work, all repeats together."""
        return self.repeats * sum(op.amount for op in self.operations if op.kind in kinds)


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
    def _all_frames(self) -> int:
        return self.load.rows * self.load.frames

    def _linear(self, rows: float, inputs: int, outputs: int) -> tuple[list[Operation], float]:
        """Return a product with weights and its bias, and the bytes of the weights."""
        quantized = self.load.precision == "int8"
        operations = [
            Operation(kind="product", amount=2 * rows * inputs * outputs, quantized=quantized),
            Operation(kind="add", amount=rows * outputs),
        ]
        if quantized:
            # Two passes for a row's range, one to round it, one to scale the result.
            operations.append(Operation(kind="add", amount=rows * (3 * inputs + outputs)))
        weight = inputs * outputs * (1 if quantized else self._item)
        return operations, weight + outputs * self._item

    def convolutions(self) -> Iterator[Block]:
        """Yield each layer of the frontend; its products stay in floats in every precision."""
        sizes = self.sizes
        geometry = FrameGeometry.of(sizes)
        lengths = [geometry.samples(self.load.frames)]
        for kernel, stride in zip(sizes.conv_kernel, sizes.conv_stride, strict=True):
            lengths.append((lengths[-1] - kernel) // stride + 1)
        channels = (1, *sizes.conv_dim)
        for index, kernel in enumerate(sizes.conv_kernel):
            rows = self.load.rows * lengths[index + 1]
            inputs, outputs = channels[index] * kernel, channels[index + 1]
            result = float(rows * outputs)
            first, last = index == 0, index == len(sizes.conv_kernel) - 1
            read = self.load.rows * lengths[index] * channels[index]
            yield Block(
                stage="convolutions",
                operations=(
                    Operation(kind="product", amount=2.0 * rows * inputs * outputs),
                    Operation(kind="copy", amount=float(rows * inputs)),
                    *(
                        Operation(kind=kind, amount=result)
                        for kind in ("add", "layer_norm", "gelu")
                    ),
                ),
                weights=(inputs + 1) * outputs * self._item + 2 * outputs * _FLOAT,
                edges=(
                    read * (_FLOAT if first else self._item),
                    result * (_FLOAT if last else self._item),
                ),
                inner=(float(rows * inputs * self._item), *[result * _FLOAT] * 2),
            )

    def encoder(self) -> Iterator[Block]:
        """Yield the blocks of the encoder."""
        yield self._projection()
        yield self._positions()
        yield self._attention()
        yield self._feed_forward()
        yield self._adapters()
        yield self._head()

    def _stream(self) -> float:
        """Bytes of the residual stream, float32."""
        return float(self._all_frames * self.sizes.hidden_size * _FLOAT)

    def _projection(self) -> Block:
        sizes, rows = self.sizes, self._all_frames
        product, weights = self._linear(rows, sizes.feature_size, sizes.hidden_size)
        features = float(rows * sizes.feature_size)
        return Block(
            stage="projection",
            operations=(Operation(kind="layer_norm", amount=features), *product),
            weights=weights + 2 * sizes.feature_size * _FLOAT,
            edges=(features * _FLOAT, self._stream()),
            inner=(features * self._item,),
        )

    def _positions(self) -> Block:
        sizes, rows = self.sizes, self._all_frames
        hidden = sizes.hidden_size
        each = sizes.num_conv_pos_embeddings * hidden // sizes.num_conv_pos_embedding_groups
        values = float(rows * hidden)
        return Block(
            stage="positions",
            operations=(
                Operation(kind="product", amount=2 * values * each),
                Operation(kind="copy", amount=2 * values),
                Operation(kind="gelu", amount=values),
                Operation(kind="add", amount=2 * values),
            ),
            weights=(each + 1) * hidden * self._item,
            edges=(self._stream(), self._stream()),
            inner=(values * self._item, values * self._item),
        )

    def _attention(self) -> Block:
        sizes, rows, item = self.sizes, self._all_frames, self._item
        hidden, heads = sizes.hidden_size, sizes.num_attention_heads
        values = float(rows * hidden)
        scores = float(rows * self.load.frames * heads)
        fused, fused_weights = self._linear(rows, hidden, 3 * hidden)
        output, output_weights = self._linear(rows, hidden, hidden)
        return Block(
            stage="attention",
            repeats=sizes.num_hidden_layers,
            operations=(
                Operation(kind="layer_norm", amount=values),
                *fused,
                Operation(kind="copy", amount=7 * values),  # split in three, four transposes
                Operation(kind="product", amount=4 * values * self.load.frames),
                Operation(kind="add", amount=scores),
                Operation(kind="softmax", amount=scores),
                *output,
                Operation(kind="add", amount=values),
            ),
            weights=fused_weights + output_weights + 2 * hidden * _FLOAT,
            edges=(self._stream(), self._stream()),
            inner=(*[values * item] * 8, scores * _FLOAT, scores * item),
        )

    def _feed_forward(self) -> Block:
        sizes, rows = self.sizes, self._all_frames
        hidden, inner = sizes.hidden_size, sizes.intermediate_size
        first, first_weights = self._linear(rows, hidden, inner)
        second, second_weights = self._linear(rows, inner, hidden)
        values, wide = float(rows * hidden), float(rows * inner)
        return Block(
            stage="feed-forward",
            repeats=sizes.num_hidden_layers,
            operations=(
                Operation(kind="layer_norm", amount=values),
                *first,
                Operation(kind="gelu", amount=wide),
                *second,
                Operation(kind="add", amount=values),
            ),
            weights=first_weights + second_weights + 2 * hidden * _FLOAT,
            edges=(self._stream(), self._stream()),
            inner=(values * self._item, wide * self._item, values * self._item),
        )

    def _adapters(self) -> Block:
        sizes, rows = self.sizes, self._all_frames
        values = float(rows * sizes.hidden_size)
        weights = sizes.adapter_parameters / sizes.num_hidden_layers * self._item
        return Block(
            stage="adapters",
            repeats=sizes.num_hidden_layers,
            operations=(
                Operation(kind="layer_norm", amount=values),
                Operation(kind="product", amount=4 * values * sizes.adapter_attn_dim),
                Operation(kind="add", amount=2 * values),
            ),
            weights=weights * self.load.languages,
            edges=(self._stream(), self._stream()),
            inner=(weights * self.load.rows, values * self._item, values * self._item),
        )

    def _head(self) -> Block:
        sizes, load = self.sizes, self.load
        values = float(self._all_frames * sizes.hidden_size)
        head = load.vocab * (sizes.hidden_size + 1) * self._item
        logits = float(self._all_frames * load.vocab)
        return Block(
            stage="head",
            operations=(
                Operation(kind="layer_norm", amount=values),
                Operation(kind="product", amount=2 * values * load.vocab),
                Operation(kind="add", amount=logits),
            ),
            weights=load.languages * head + 2 * sizes.hidden_size * _FLOAT,
            edges=(self._stream(), logits * _FLOAT),
            inner=(load.rows * head, values * self._item),
        )
