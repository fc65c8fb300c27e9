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
    """Keys and values of kept frames among the inputs, those of new frames among the outputs."""

    def __init__(self, layers: Layers, config: Config) -> None:
        self._layers = layers
        graph, count = layers.graph, config.num_hidden_layers
        self._dtype = layers.numerics.memory
        self._shape: list[int | str] = ["batch", count, 2, "kept", config.hidden_size]
        self._cache = graph.input("cache", self._dtype, self._shape)
        self._filled = graph.input("filled", "int64", ["batch"])
        self._former = graph.ops("Split", self._cache, count=count, axis=1, num_outputs=count)
        self._updates: list[str] = []

    def mask(self, new: str) -> str:
        """Return what is added to the scores: of the ring's filled places and the new frames."""
        graph = self._layers.graph
        kept = below(graph, positions(graph, self._cache, axis=3), self._filled)
        return attention_mask(graph, graph.op("Concat", kept, new, axis=1))

    def extend(self, layer: int, keys: str, values: str) -> tuple[str, str]:
        """Put the ring's keys and values before the new ones, and note those for the output."""
        graph, layers = self._layers.graph, self._layers
        pair = [graph.op("Unsqueeze", part, graph.ints(1)) for part in (keys, values)]
        update = graph.op("Concat", *pair, axis=1)
        if self._dtype != layers.numerics.operands:
            update = graph.cast(update, self._dtype)
        self._updates.append(graph.op("Unsqueeze", update, graph.ints(1)))
        former = graph.op("Squeeze", self._former[layer], graph.ints(1))
        if self._dtype != layers.numerics.operands:
            former = graph.cast(former, layers.numerics.operands)
        old_keys, old_values = (
            graph.op("Squeeze", part, graph.ints(1))
            for part in graph.ops("Split", former, count=2, axis=1, num_outputs=2)
        )
        return (
            graph.op("Concat", old_keys, keys, axis=1),
            graph.op("Concat", old_values, values, axis=1),
        )

    def output(self) -> None:
        """Declare the new keys and values as the output `update`."""
        graph = self._layers.graph
        update = graph.op("Concat", *self._updates, axis=1)
        graph.output("update", update, self._dtype, [*self._shape[:3], "frames", self._shape[4]])
