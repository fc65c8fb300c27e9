"""Transformer layers of the base model: positional convolution, attention, feed-forward."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from mms_export.checkpoints.weights import FloatArray, Weights
from mms_export.graphs.builder import CONTRIB
from mms_export.graphs.layers import Layers, Matrix
from mms_export.graphs.quantize import GELU_OUTPUT

POSITIONS = "encoder.pos_conv_embed.conv"
_TO_THE_END = (1 << 63) - 1


def add_positions(layers: Layers, value: str, *, history: int = 0) -> str:
    """Add the positional convolution to a float32 value `[B, history + T, H]`.

    Args:
        layers: Graph to add to.
        value: Projected features.
        history: Leading frames that serve only as context; the result is `[B, T, H]`. Without any,
            the first frame is preceded by zeros.
    """
    graph, config, weights = layers.graph, layers.config, layers.weights
    hidden, kernel = config.hidden_size, config.num_conv_pos_embeddings
    groups = config.num_conv_pos_embedding_groups
    weight = layers.operand_weight(
        f"{POSITIONS}.weight",
        (hidden, hidden // groups, kernel),
        lambda: _fold_weight_norm(weights),
    )
    bias = layers.operand_weight(
        f"{POSITIONS}.bias", (hidden,), lambda: weights.read(f"{POSITIONS}.bias")
    )
    columns = graph.op("Transpose", layers.operand(value), perm=[0, 2, 1])
    # An even kernel yields one frame too many; padding one less at the end drops it.
    pads = [kernel // 2 - history, kernel // 2 - (1 - kernel % 2)]
    columns = graph.op("Conv", columns, weight, bias, group=groups, pads=pads)
    rows = graph.op("Transpose", layers.widen(columns), perm=[0, 2, 1])
    if history:
        value = slice_from(layers, value, history, axis=1)
    return graph.op("Add", value, graph.op("Gelu", rows))


def slice_from(layers: Layers, value: str, start: int, *, axis: int) -> str:
    """Return the part of an axis from `start` to its end."""
    ints = layers.graph.ints
    return layers.graph.op("Slice", value, ints(start), ints(_TO_THE_END), ints(axis))


def _fold_weight_norm(weights: Weights) -> FloatArray:
    """Return the weight `g * v / |v|`, with the norm per kernel position."""
    direction = weights.read(f"{POSITIONS}.weight_v").astype(np.float64)
    length = np.sqrt(np.square(direction).sum(axis=(0, 1), keepdims=True))
    folded = weights.read(f"{POSITIONS}.weight_g") * (direction / length)
    return np.asarray(folded, dtype=np.float32)


class KvCache(Protocol):
    """Keys and values of earlier frames, as inputs of the graph."""

    def extend(self, layer: int, keys: str, values: str) -> tuple[str, str]:
        """Return cached and new keys and values of a layer, operands `[B, heads, S, H / heads]`.

        Args:
            layer: Index of the layer.
            keys: Keys of the new frames, an operand `[B, heads, T, H / heads]`.
            values: Values of the new frames, of the same shape.
        """
        ...


@dataclass(frozen=True, slots=True)
class AttentionInputs:
    """Mask and cached keys of every layer's attention."""

    mask: str
    """Additive mask of the keys, float32 `[B, 1, 1, S]`; of fused attention the addend of the keys,
    float32 `[B, S, heads * (H / heads + 1)]`, which has the mask in each head's last column."""
    cache: KvCache | None = None
    """`None` to attend to the graph's own frames only, S = T."""


def transformer_layer(layers: Layers, index: int, value: str, inputs: AttentionInputs) -> str:
    """Return the residual stream after a layer's attention and feed-forward."""
    value = layers.added(value, _attention(layers, index, value, inputs))
    return layers.added(value, _feed_forward(layers, f"encoder.layers.{index}", value))


def _feed_forward(layers: Layers, name: str, value: str) -> str:
    """Return the feed-forward output, an operand divided by the headroom."""
    hidden, inner = layers.config.hidden_size, layers.config.intermediate_size
    first = layers.matrix(f"{name}.feed_forward.intermediate_dense", hidden, inner)
    second = layers.matrix(f"{name}.feed_forward.output_dense", inner, hidden)
    normal = layers.named_layer_norm(value, f"{name}.final_layer_norm", hidden)
    wide = layers.linear_gelu(normal, first)
    return layers.operand_linear(wide, layers.lowered(second), GELU_OUTPUT)


def _attention(layers: Layers, index: int, value: str, inputs: AttentionInputs) -> str:
    """Return the attention output `[B, T, H]`, an operand divided by the headroom."""
    hidden, name = layers.config.hidden_size, f"encoder.layers.{index}"
    normal = layers.named_layer_norm(value, f"{name}.layer_norm", hidden)
    if layers.numerics.is_fused:
        parts = layers.linears(normal, _masked_projections(layers, f"{name}.attention"))
    else:
        fused = layers.linear(normal, _queries_keys_values(layers, f"{name}.attention"))
        parts = layers.graph.ops("Split", fused, count=3, axis=-1, num_outputs=3)
    if layers.numerics.is_fused and not inputs.cache:
        mixed = _fused(layers, parts, inputs.mask)
    else:
        mixed = _plain(layers, index, parts, inputs)
    output = layers.matrix(f"{name}.attention.out_proj", hidden, hidden)
    return layers.operand_linear(mixed, layers.lowered(output))


def _plain(layers: Layers, index: int, parts: list[str], inputs: AttentionInputs) -> str:
    """Return the mean of the values, weighted by the softmax of all scores."""
    graph = layers.graph
    queries, keys, values = (_heads(layers, part) for part in parts)
    if layers.numerics.is_fused:
        queries, keys = _without_column(layers, queries), _without_column(layers, keys)
    if inputs.cache:
        keys, values = inputs.cache.extend(index, keys, values)
    keys = graph.op("Transpose", keys, perm=[0, 1, 3, 2])
    scores = layers.widen(graph.op("MatMul", queries, keys))
    shares = graph.op("Softmax", graph.op("Add", scores, inputs.mask), axis=-1)
    mixed = graph.op("MatMul", layers.operand(shares), values)
    mixed = graph.op("Transpose", mixed, perm=[0, 2, 1, 3])
    return graph.op("Reshape", mixed, graph.ints(0, 0, layers.config.hidden_size))


def _without_column(layers: Layers, heads: str) -> str:
    """Remove the column of the mask, which the weights have for the graphs that share them."""
    ints = layers.graph.ints
    return layers.graph.op("Slice", heads, ints(0), ints(-1), ints(3))


def _fused(layers: Layers, parts: list[str], addend: str) -> str:
    """Return the same as `_plain` by one operator, whose mask is a column of queries and keys.

    ONNX Runtime's operator computes in blocks only where it is given no mask. Here the queries are
    1 where the keys have the mask, so that the product of the two adds it to the scores.
    """
    graph, heads = layers.graph, layers.config.num_attention_heads
    queries, keys, values = parts
    keys = graph.op("Add", keys, addend)
    return graph.op(
        "MultiHeadAttention", queries, keys, values, domain=CONTRIB, num_heads=heads, scale=1.0
    )


def _heads(layers: Layers, value: str) -> str:
    """Divide `[B, T, H]` into heads, `[B, heads, T, H / heads]`."""
    graph, heads = layers.graph, layers.config.num_attention_heads
    split = graph.op("Reshape", value, graph.ints(0, 0, heads, -1))
    return graph.op("Transpose", split, perm=[0, 2, 1, 3])


def _queries_keys_values(layers: Layers, name: str) -> Matrix:
    """Return the joint projection, with the attention scale folded into the queries."""
    hidden = layers.config.hidden_size
    parts = _projections(layers, name)
    return Matrix(
        name=f"{name}.qkv_proj",
        inputs=hidden,
        outputs=3 * hidden,
        weight=lambda: np.concatenate([part.weight() for part in parts], axis=-1),
        bias=lambda: np.concatenate([part.bias() for part in parts]),
    )


def _masked_projections(layers: Layers, name: str) -> list[Matrix]:
    """Return the projections; heads of queries end with a column of 1, those of keys of 0."""
    heads = layers.config.num_attention_heads
    queries, keys, values = _projections(layers, name)
    return [_with_column(queries, heads, 1.0), _with_column(keys, heads, 0.0), values]


def _with_column(matrix: Matrix, heads: int, content: float) -> Matrix:
    """Return a projection whose heads have one more column, of the same number in every row."""

    def extend(array: FloatArray, value: float) -> FloatArray:
        split = array.reshape(*array.shape[:-1], heads, -1)
        padding = [*[(0, 0)] * (split.ndim - 1), (0, 1)]
        padded = np.pad(split, padding, constant_values=value)
        return padded.reshape(*array.shape[:-1], matrix.outputs + heads)

    return replace(
        matrix,
        outputs=matrix.outputs + heads,
        weight=lambda: extend(matrix.weight(), 0.0),
        bias=lambda: extend(matrix.bias(), content),
    )


def _projections(layers: Layers, name: str) -> list[Matrix]:
    """Return the projections to queries, which carry the attention scale, keys and values."""
    hidden = layers.config.hidden_size
    scale = np.float32((hidden // layers.config.num_attention_heads) ** -0.5)
    queries, keys, values = (
        layers.matrix(f"{name}.{part}_proj", hidden, hidden) for part in ("q", "k", "v")
    )
    scaled = replace(
        queries, weight=lambda: queries.weight() * scale, bias=lambda: queries.bias() * scale
    )
    return [scaled, keys, values]
