"""The parts of the encoder that all languages share: positions, attention, feed-forward."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mms_export.checkpoints.config import Config
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.layers import FloatArray, Layers, Matrix, linear_matrix
from mms_export.graphs.quantize import GELU_OUTPUT

POSITIONS = "encoder.pos_conv_embed.conv"
_TO_THE_END = (1 << 63) - 1


def add_positions(
    layers: Layers, config: Config, weights: Weights, value: str, *, history: int = 0
) -> str:
    """Add the convolution over time that tells the encoder where a frame stands.

    Args:
        layers: Where it goes.
        config: Sizes.
        weights: Of the checkpoint.
        value: float32 `[B, history + T, H]`.
        history: Leading frames that are only heard: the result is `[B, T, H]`. Without any, zeros
            stand before the first frame.
    """
    graph = layers.graph
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
    # An even kernel gives one frame too many: the last, which is left off by padding one less.
    pads = [kernel // 2 - history, kernel // 2 - (1 - kernel % 2)]
    columns = graph.op("Conv", columns, weight, bias, group=groups, pads=pads)
    rows = graph.op("Transpose", layers.widen(columns), perm=[0, 2, 1])
    if history:
        value = slice_from(layers, value, history, axis=1)
    return graph.op("Add", value, layers.gelu(rows))


def slice_from(layers: Layers, value: str, start: int, *, axis: int) -> str:
    """Leave out what lies before `start`."""
    ints = layers.graph.ints
    return layers.graph.op("Slice", value, ints(start), ints(_TO_THE_END), ints(axis))


def _fold_weight_norm(weights: Weights) -> FloatArray:
    """Return the weight that `g * v / |v|` stands for, the norm taken for each kernel position."""
    direction = weights.read(f"{POSITIONS}.weight_v").astype(np.float64)
    length = np.sqrt(np.square(direction).sum(axis=(0, 1), keepdims=True))
    folded = weights.read(f"{POSITIONS}.weight_g") * (direction / length)
    return np.asarray(folded, dtype=np.float32)


class Memory(Protocol):
    """Keys and values of earlier frames, beside those of a run."""

    def extend(self, layer: int, keys: str, values: str) -> tuple[str, str]:
        """Return the keys and values that a layer attends to: operands `[B, heads, S, H / heads]`.

        Args:
            layer: Its index.
            keys: Of the run's own frames, an operand `[B, heads, T, H / heads]`.
            values: As the keys.
        """
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a layer's attention hears."""

    mask: str
    """What is added to the scores of each key, float32 `[B, 1, 1, S]`."""
    memory: Memory | None = None
    """`None` where the keys are the run's own frames, S = T."""


def transformer_layer(
    layers: Layers,
    config: Config,
    weights: Weights,
    index: int,
    value: str,
    surroundings: Surroundings,
) -> str:
    """Add attention and feed-forward of one layer to the residual stream."""
    layer = _Layer(layers, config, weights, index)
    value = layers.added(value, layer.attention(value, surroundings))
    return layers.added(value, layer.feed_forward(value))


class _Layer:
    def __init__(self, layers: Layers, config: Config, weights: Weights, index: int) -> None:
        self._layers = layers
        self._config = config
        self._weights = weights
        self._index = index
        self._name = f"encoder.layers.{index}"

    def _norm(self, value: str, name: str) -> str:
        size = self._config.hidden_size
        return self._layers.named_layer_norm(
            value, f"{self._name}.{name}", size, self._weights.read
        )

    def feed_forward(self, value: str) -> str:
        """Return what the feed-forward block adds, an operand lowered by the headroom."""
        hidden, inner = self._config.hidden_size, self._config.intermediate_size
        name = f"{self._name}.feed_forward"
        first = linear_matrix(self._weights, f"{name}.intermediate_dense", hidden, inner)
        second = linear_matrix(self._weights, f"{name}.output_dense", inner, hidden)
        wide = self._layers.linear_gelu(self._norm(value, "final_layer_norm"), first)
        return self._layers.operand_linear(wide, self._layers.lowered(second), GELU_OUTPUT)

    def attention(self, value: str, surroundings: Surroundings) -> str:
        """Return what self-attention adds to the residual stream `[B, T, H]`.

        That is an operand lowered by the headroom.
        """
        graph, layers = self._layers.graph, self._layers
        fused = layers.linear(self._norm(value, "layer_norm"), self._queries_keys_values())
        queries, keys, values = graph.ops("Split", fused, count=3, axis=-1, num_outputs=3)
        keys, values = self._heads(keys), self._heads(values)
        if surroundings.memory:
            keys, values = surroundings.memory.extend(self._index, keys, values)
        keys = graph.op("Transpose", keys, perm=[0, 1, 3, 2])
        scores = layers.widen(graph.op("MatMul", self._heads(queries), keys))
        shares = graph.op("Softmax", graph.op("Add", scores, surroundings.mask), axis=-1)
        mixed = graph.op("MatMul", layers.operand(shares), values)
        mixed = graph.op("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = graph.op("Reshape", mixed, graph.ints(0, 0, self._config.hidden_size))
        hidden = self._config.hidden_size
        output = linear_matrix(self._weights, f"{self._name}.attention.out_proj", hidden, hidden)
        return layers.operand_linear(mixed, layers.lowered(output))

    def _heads(self, value: str) -> str:
        graph, heads = self._layers.graph, self._config.num_attention_heads
        size = self._config.hidden_size // heads
        split = graph.op("Reshape", value, graph.ints(0, 0, heads, size))
        return graph.op("Transpose", split, perm=[0, 2, 1, 3])

    def _queries_keys_values(self) -> Matrix:
        """One product instead of three; the scale of the scores is folded into the queries."""
        hidden = self._config.hidden_size
        scale = (hidden // self._config.num_attention_heads) ** -0.5
        parts = [
            linear_matrix(self._weights, f"{self._name}.attention.{part}_proj", hidden, hidden)
            for part in "qkv"
        ]

        def join(arrays: list[FloatArray]) -> FloatArray:
            return np.concatenate([arrays[0] * np.float32(scale), *arrays[1:]], axis=-1)

        return Matrix(
            name=f"{self._name}.attention.qkv_proj",
            inputs=hidden,
            outputs=3 * hidden,
            weight=lambda: join([part.weight() for part in parts]),
            bias=lambda: join([part.bias() for part in parts]),
        )
