"""Streaming step graph: the encoder over new frames, with a KV cache of earlier ones.

In each layer, new frames attend to cached keys and values and to themselves. Attention knows no
order beyond the positions added at the beginning, so the cache may be a ring buffer. Cached keys
and values were computed with the right context of their own step, which approximates the full
context of the encoder (measured in docs/streaming.md).
"""

from mms_engine.bundle.kv_cache import cache_names, update_name
from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.layers import Layers
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.wav2vec2.encoder import Bank, attention_mask, below, positions, project
from mms_export.graphs.wav2vec2.transformer import (
    AttentionInputs,
    add_positions,
    slice_from,
    transformer_layer,
)


def build_step(config: Wav2Vec2, weights: Weights, numerics: Numerics) -> GraphBuilder:
    """Return the graph of one step (inputs and outputs in docs/bundle.md)."""
    graph = GraphBuilder("step", numerics.opset)
    layers = Layers(graph, numerics, config, weights)
    history_frames = config.num_conv_pos_embeddings // 2
    features = graph.input("features", "float32", ["batch", "input_frames", config.feature_size])
    history = graph.input("history", "int64", ["batch"])
    lengths = graph.input("lengths", "int64", ["batch"])
    cache = _CacheInput(layers)
    bank = Bank(layers)

    valid = _valid(graph, features, history, lengths, history_frames)
    value = project(layers, features, valid)
    value = add_positions(layers, value, history=history_frames)
    new = slice_from(layers, valid, history_frames, axis=1)
    attention = AttentionInputs(cache.mask(new), cache)
    for index in range(config.num_hidden_layers):
        value = transformer_layer(layers, index, value, attention)
        value = bank.adapt(value, index)
    value = layers.named_layer_norm(value, "encoder.layer_norm", config.hidden_size)
    graph.output("logits", bank.head(value), "float32", ["batch", "frames", "vocab"])
    cache.output()
    return graph


def _valid(graph: GraphBuilder, features: str, history: str, lengths: str, before: int) -> str:
    """Return the valid frames, bool `[batch, input_frames]`: right-aligned history, new frames."""
    indices = positions(graph, features, axis=1)
    first = graph.op("Unsqueeze", graph.op("Sub", graph.ints(before), history), graph.ints(1))
    begun = graph.op("GreaterOrEqual", indices, first)
    ended = below(graph, indices, graph.op("Add", graph.ints(before), lengths))
    return graph.op("And", begun, ended)


class _CacheInput:
    """KV cache among the inputs; keys and values of the new frames to keep among the outputs.

    Each layer has inputs and outputs of its own, for keys and for values: TensorRT and ONNX Runtime
    copy all parts of an input that they divide. Heads precede frames, the layout of attention, so
    no layer transposes its cache. Keys and values of a whole utterance would be larger than
    everything else, so the caller names the frames to keep.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        graph, config = layers.graph, layers.config
        heads = config.num_attention_heads
        self._dtype = layers.numerics.kv_cache
        self._sizes = "batch", heads, config.hidden_size // heads
        self._former = {
            name: graph.input(name, self._dtype, self._shape("cache_slots"))
            for name in cache_names(config.num_hidden_layers)
        }
        self._filled = graph.input("filled", "int64", ["batch"])
        self._keep = graph.input("keep", "int64", ["kept_frames"])
        self._updates: dict[str, str] = {}

    def mask(self, new: str) -> str:
        """Return the additive mask of the cache's filled slots and the new frames."""
        graph = self._layers.graph
        first = next(iter(self._former.values()))
        kept = below(graph, positions(graph, first, axis=2), self._filled)
        return attention_mask(graph, graph.op("Concat", kept, new, axis=1))

    def extend(self, layer: int, keys: str, values: str) -> tuple[str, str]:
        """Prepend cached keys and values to the new ones, which are collected for the output."""
        names = cache_names(layer + 1)[-2:]
        return self._extend(names[0], keys), self._extend(names[1], values)

    def _extend(self, name: str, new: str) -> str:
        graph, operands = self._layers.graph, self._layers.numerics.operands
        kept, former = graph.op("Gather", new, self._keep, axis=2), self._former[name]
        if self._dtype != operands:
            kept, former = graph.cast(kept, self._dtype), graph.cast(former, operands)
        self._updates[update_name(name)] = kept
        return graph.op("Concat", former, new, axis=2)

    def output(self) -> None:
        """Declare the new keys and values to keep as outputs."""
        for name, update in self._updates.items():
            self._layers.graph.output(name, update, self._dtype, self._shape("kept_frames"))

    def _shape(self, frames: str) -> list[int | str]:
        batch, heads, size = self._sizes
        return [batch, heads, frames, size]
