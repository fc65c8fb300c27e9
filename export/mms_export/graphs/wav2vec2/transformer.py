"""Transformer layers of the base model: positional convolution, attention, feed-forward."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mms_export.checkpoints.weights import FloatArray, Weights
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
    """Additive mask of the keys, float32 `[B, 1, 1, S]`."""
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
    graph, hidden, name = layers.graph, layers.config.hidden_size, f"encoder.layers.{index}"
    normal = layers.named_layer_norm(value, f"{name}.layer_norm", hidden)
    fused = layers.linear(normal, _queries_keys_values(layers, f"{name}.attention"))
    queries, keys, values = graph.ops("Split", fused, count=3, axis=-1, num_outputs=3)
    keys, values = _heads(layers, keys), _heads(layers, values)
    if inputs.cache:
        keys, values = inputs.cache.extend(index, keys, values)
    keys = graph.op("Transpose", keys, perm=[0, 1, 3, 2])
    scores = layers.widen(graph.op("MatMul", _heads(layers, queries), keys))
    shares = graph.op("Softmax", graph.op("Add", scores, inputs.mask), axis=-1)
    mixed = graph.op("MatMul", layers.operand(shares), values)
    mixed = graph.op("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = graph.op("Reshape", mixed, graph.ints(0, 0, hidden))
    output = layers.matrix(f"{name}.attention.out_proj", hidden, hidden)
    return layers.operand_linear(mixed, layers.lowered(output))


def _heads(layers: Layers, value: str) -> str:
    """Divide `[B, T, H]` into heads, `[B, heads, T, H / heads]`."""
    graph, heads = layers.graph, layers.config.num_attention_heads
    size = layers.config.hidden_size // heads
    split = graph.op("Reshape", value, graph.ints(0, 0, heads, size))
    return graph.op("Transpose", split, perm=[0, 2, 1, 3])


def _queries_keys_values(layers: Layers, name: str) -> Matrix:
    """Return the joint projection, with the attention scale folded into the queries."""
    hidden = layers.config.hidden_size
    scale = np.float32((hidden // layers.config.num_attention_heads) ** -0.5)
    parts = [layers.matrix(f"{name}.{part}_proj", hidden, hidden) for part in "qkv"]

    def join(arrays: list[FloatArray]) -> FloatArray:
        return np.concatenate([arrays[0] * scale, *arrays[1:]], axis=-1)

    return Matrix(
        name=f"{name}.qkv_proj",
        inputs=hidden,
        outputs=3 * hidden,
        weight=lambda: join([part.weight() for part in parts]),
        bias=lambda: join([part.bias() for part in parts]),
    )
