"""The encoder for streams: what earlier frames gave is an input, so only new frames are computed.

A step hears, in each layer, the keys and values that earlier steps gave for the frames they kept,
and its own frames. Attention has no notion of order beside the positions added at the beginning,
so the memory may be a ring. Keys and values of kept frames were computed with the right context of
their own step: the encoder's full context is approximated, which docs/streaming.md measures.
"""

from mms_export.checkpoints.config import Config
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.encoder import Bank, attention_mask, below, positions, project
from mms_export.graphs.layers import Layers
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.transformer import (
    Surroundings,
    add_positions,
    slice_from,
    transformer_layer,
)


def build_cached(config: Config, weights: Weights, numerics: Numerics) -> GraphBuilder:
    """Return the graph of one step (docs/bundle.md says its inputs and outputs whole)."""
    graph = GraphBuilder("cached", numerics.opset)
    layers = Layers(graph, numerics)
    history_frames = config.num_conv_pos_embeddings // 2
    features = graph.input("features", "float32", ["batch", "heard", config.feature_size])
    history = graph.input("history", "int64", ["batch"])
    lengths = graph.input("lengths", "int64", ["batch"])
    memory = _Ring(layers, config)
    bank = Bank(layers, config)

    heard = _heard(graph, features, history, lengths, history_frames)
    value = project(layers, config, weights, features, heard)
    value = add_positions(layers, config, weights, value, history=history_frames)
    new = slice_from(layers, heard, history_frames, axis=1)
    surroundings = Surroundings(memory.mask(new), memory)
    for index in range(config.num_hidden_layers):
        value = transformer_layer(layers, config, weights, index, value, surroundings)
        value = bank.adapt(value, index)
    value = layers.named_layer_norm(value, "encoder.layer_norm", config.hidden_size, weights.read)
    graph.output("logits", bank.head(value), "float32", ["batch", "frames", "vocab"])
    memory.output()
    return graph


def _heard(graph: GraphBuilder, features: str, history: str, lengths: str, before: int) -> str:
    """Return bool `[batch, heard]`: the history, flush with the new frames, and those."""
    indices = positions(graph, features, axis=1)
    first = graph.op("Unsqueeze", graph.op("Sub", graph.ints(before), history), graph.ints(1))
    begun = graph.op("GreaterOrEqual", indices, first)
    ended = below(graph, indices, graph.op("Add", graph.ints(before), lengths))
    return graph.op("And", begun, ended)


class _Ring:
    """Keys and values of kept frames among the inputs, those of new frames among the outputs.

    They lie as attention takes them, heads outside of frames: no layer has to turn its memory.
    """

    def __init__(self, layers: Layers, config: Config) -> None:
        self._layers = layers
        graph, count, heads = layers.graph, config.num_hidden_layers, config.num_attention_heads
        self._dtype = layers.numerics.memory
        self._outer = (count, 2, heads)
        self._size = config.hidden_size // heads
        shape: list[int | str] = ["batch", *self._outer, "kept", self._size]
        self._cache = graph.input("cache", self._dtype, shape)
        self._filled = graph.input("filled", "int64", ["batch"])
        parts = graph.op("Reshape", self._cache, graph.ints(0, 2 * count, heads, -1, self._size))
        self._former = graph.ops("Split", parts, count=2 * count, axis=1, num_outputs=2 * count)
        self._updates: list[str] = []

    def mask(self, new: str) -> str:
        """Return what is added to the scores: of the ring's filled places and the new frames."""
        graph = self._layers.graph
        kept = below(graph, positions(graph, self._cache, axis=4), self._filled)
        return attention_mask(graph, graph.op("Concat", kept, new, axis=1))

    def extend(self, layer: int, keys: str, values: str) -> tuple[str, str]:
        """Put the ring's keys and values before the new ones, and note those for the output."""
        return self._extend(2 * layer, keys), self._extend(2 * layer + 1, values)

    def _extend(self, index: int, new: str) -> str:
        graph, numerics = self._layers.graph, self._layers.numerics
        self._updates.append(graph.op("Unsqueeze", new, graph.ints(1)))
        former = graph.op("Squeeze", self._former[index], graph.ints(1))
        if self._dtype != numerics.operands:
            former = graph.cast(former, numerics.operands)
        return graph.op("Concat", former, new, axis=2)

    def output(self) -> None:
        """Declare the new keys and values as the output `update`."""
        graph = self._layers.graph
        update = graph.op("Concat", *self._updates, axis=1)
        if self._dtype != self._layers.numerics.operands:
            update = graph.cast(update, self._dtype)
        update = graph.op("Reshape", update, graph.ints(0, *self._outer, -1, self._size))
        shape: list[int | str] = ["batch", *self._outer, "frames", self._size]
        graph.output("update", update, self._dtype, shape)
