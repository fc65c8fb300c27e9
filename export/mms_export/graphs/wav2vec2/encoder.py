"""Encoder graph: features to logits, with the adapter bank as an input.

Row b of a batch uses slot `slot[b]` of the bank and the pages `pages[b]` of its heads, so one batch
may mix languages, and computes no more tokens than the widest of them has.
"""

import numpy as np

from mms_engine.bank.heads import PAGE_TOKENS
from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.config import adapter_parameters, adapter_sizes
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.layers import Layers
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.wav2vec2.transformer import AttentionInputs, add_positions, transformer_layer

FLOAT32_MIN = -3.4028234663852886e38


def build_encoder(config: Wav2Vec2, weights: Weights, numerics: Numerics) -> GraphBuilder:
    """Return the graph `features, lengths, bank -> logits` (docs/bundle.md)."""
    graph = GraphBuilder("encoder", numerics.opset)
    layers = Layers(graph, numerics, config, weights)
    features = graph.input("features", "float32", ["batch", "frames", config.feature_size])
    lengths = graph.input("lengths", "int64", ["batch"])
    bank = Bank(layers)

    valid = below(graph, positions(graph, features, axis=1), lengths)
    value = project(layers, features, valid)
    value = add_positions(layers, value)
    attention = own_frames(layers, valid)
    for index in range(config.num_hidden_layers):
        value = transformer_layer(layers, index, value, attention)
        value = bank.adapt(value, index)
    value = layers.named_layer_norm(value, "encoder.layer_norm", config.hidden_size)
    graph.output("logits", bank.head(value), "float32", ["batch", "frames", "vocab"])
    return graph


def positions(graph: GraphBuilder, value: str, *, axis: int) -> str:
    """Return the indices along an axis of size S, int64 `[S]`."""
    shape = graph.op("Shape", value, start=axis, end=axis + 1)
    zero, one = graph.constant(0, "int64"), graph.constant(1, "int64")
    return graph.op("Range", zero, graph.op("Squeeze", shape, graph.ints(0)), one)


def below(graph: GraphBuilder, indices: str, counts: str) -> str:
    """Return whether each index `[S]` is less than a row's count, bool `[batch, S]`."""
    return graph.op("Less", indices, graph.op("Unsqueeze", counts, graph.ints(1)))


def own_frames(layers: Layers, valid: str) -> AttentionInputs:
    """Return the inputs of attention to a graph's own valid frames, bool `[batch, T]`."""
    graph, config = layers.graph, layers.config
    if not layers.numerics.is_fused:
        return AttentionInputs(attention_mask(graph, valid))
    heads = config.num_attention_heads
    size = config.hidden_size // heads
    in_column = graph.constant(np.tile(np.arange(size + 1) == size, heads), "bool")
    is_masked = graph.op("Not", graph.op("Unsqueeze", valid, graph.ints(2)))
    zero, lowest = graph.constant(0.0, "float32"), graph.constant(FLOAT32_MIN, "float32")
    addend = graph.op("Where", graph.op("And", is_masked, in_column), lowest, zero)
    return AttentionInputs(addend)


def attention_mask(graph: GraphBuilder, valid: str) -> str:
    """Return the additive mask of keys, float32 `[batch, 1, 1, S]`."""
    zero, lowest = graph.constant(0.0, "float32"), graph.constant(FLOAT32_MIN, "float32")
    return graph.op("Where", graph.op("Unsqueeze", valid, graph.ints(1, 2)), zero, lowest)


def project(layers: Layers, features: str, valid: str) -> str:
    """Project features to the hidden size; invalid frames become zero."""
    graph, config = layers.graph, layers.config
    name, size = "feature_projection", config.feature_size
    value = layers.named_layer_norm(features, f"{name}.layer_norm", size)
    matrix = layers.matrix(f"{name}.projection", size, config.hidden_size)
    value = layers.widen(layers.linear(value, matrix))
    zero = graph.constant(0.0, "float32")
    return graph.op("Where", graph.op("Unsqueeze", valid, graph.ints(2)), value, zero)


class Bank:
    """Adapter bank among the inputs: adapters by slot, if the model has any, and heads by pages."""

    def __init__(self, layers: Layers) -> None:
        graph, config, dtype = layers.graph, layers.config, layers.numerics.operands
        self._layers = layers
        self._parts: list[str] = []
        if config.adapter_attn_dim:
            slot = graph.input("slot", "int64", ["batch"])
            parameters = adapter_parameters(config)
            adapters = graph.input("adapters", dtype, ["slots", parameters])
            rows = graph.op("Gather", adapters, slot, axis=0)
            sizes = adapter_sizes(config) * config.num_hidden_layers
            self._parts = graph.ops("Split", rows, graph.ints(*sizes), count=len(sizes), axis=1)
        self._pages = graph.input("pages", "int64", ["batch", "pages"])
        shape: list[int | str] = ["bank_pages", PAGE_TOKENS, config.hidden_size]
        self._head_weight = graph.input("head_weight", dtype, shape)
        self._head_bias = graph.input("head_bias", dtype, shape[:2])

    def adapt(self, value: str, layer: int) -> str:
        """Add a layer's adapter, that of each row's language, to the residual stream."""
        if not self._parts:
            return value
        layers, graph = self._layers, self._layers.graph
        hidden, inner = layers.config.hidden_size, layers.config.adapter_attn_dim
        down, down_bias, up, up_bias = self._parts[4 * layer : 4 * layer + 4]
        ones = graph.constant([1.0] * hidden, "float32")
        normal = layers.operand(layers.layer_norm(value, ones))
        down = graph.op("Reshape", down, graph.ints(-1, hidden, inner))
        squeezed = graph.op("MatMul", normal, down)
        squeezed = graph.op("Add", squeezed, self._row(down_bias))
        up = graph.op("Reshape", up, graph.ints(-1, inner, hidden))
        change = graph.op("MatMul", layers.lowered_operand(graph.op("Relu", squeezed)), up)
        change = graph.op("Add", change, layers.lowered_operand(self._row(up_bias)))
        return layers.added(value, change)

    def head(self, value: str) -> str:
        """Return the logits of each row's language, float32 `[batch, frames, 64 * pages]`."""
        layers, graph = self._layers, self._layers.graph
        weight = graph.op("Gather", self._head_weight, self._pages, axis=0)
        bias = layers.widen(graph.op("Gather", self._head_bias, self._pages, axis=0))
        value = layers.operand(value)
        if layers.numerics.operands != "float32":
            weight = graph.op("Reshape", weight, graph.ints(0, -1, layers.config.hidden_size))
            weight = graph.op("Transpose", weight, perm=[0, 2, 1])
            scores = layers.widen(graph.op("MatMul", value, weight))
            return graph.op("Add", scores, graph.op("Reshape", bias, graph.ints(0, 1, -1)))
        # A CPU sums in an order that depends on the width of a product: one product a page gives a
        # row the same bits beside wider languages. TensorRT would copy the value for each page.
        weight = graph.op("Transpose", weight, perm=[0, 1, 3, 2])
        scores = graph.op("MatMul", self._row(value), weight)
        scores = graph.op("Add", scores, graph.op("Unsqueeze", bias, graph.ints(2)))
        scores = graph.op("Transpose", scores, perm=[0, 2, 1, 3])
        return graph.op("Reshape", scores, graph.ints(0, 0, -1))

    def _row(self, vector: str) -> str:
        return self._layers.graph.op("Unsqueeze", vector, self._layers.graph.ints(1))
