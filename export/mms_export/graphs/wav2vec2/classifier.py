"""Classifier and embedding graphs: the encoder with its adapters, if any, as constants.

The classifier's head is that of transformers' `Wav2Vec2ForSequenceClassification`: projector, mean
over the valid frames, classifier, and no activation between them (fairseq's has one).
"""

from dataclasses import replace

from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.layers import Layers
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.wav2vec2.encoder import below, own_frames, positions, project
from mms_export.graphs.wav2vec2.transformer import add_positions, transformer_layer


def build_classifier(config: Wav2Vec2, weights: Weights, numerics: Numerics) -> GraphBuilder:
    """Return the graph `features, lengths -> scores` (docs/bundle.md)."""
    graph = GraphBuilder("encoder", numerics.opset)
    layers = Layers(graph, numerics, config, weights)
    whole = _unquantized(layers)
    features = graph.input("features", "float32", ["batch", "frames", config.feature_size])
    lengths = graph.input("lengths", "int64", ["batch"])

    valid = below(graph, positions(graph, features, axis=1), lengths)
    value = _encoded(layers, features, valid)
    labels, size = weights.shapes["classifier.weight"]
    projector = whole.matrix("projector", config.hidden_size, size)
    projected = whole.widen(whole.linear(value, projector))
    mean = _masked_mean(graph, projected, valid, lengths)
    scores = whole.widen(whole.linear(mean, whole.matrix("classifier", size, labels)))
    graph.output("scores", scores, "float32", ["batch", labels])
    return graph


def build_embedding(config: Wav2Vec2, weights: Weights, numerics: Numerics) -> GraphBuilder:
    """Return the graph `features, lengths -> hidden` (docs/bundle.md)."""
    graph = GraphBuilder("encoder", numerics.opset)
    layers = Layers(graph, numerics, config, weights)
    features = graph.input("features", "float32", ["batch", "frames", config.feature_size])
    lengths = graph.input("lengths", "int64", ["batch"])
    valid = below(graph, positions(graph, features, axis=1), lengths)
    hidden = _encoded(layers, features, valid)
    graph.output("hidden", hidden, "float32", ["batch", "frames", config.hidden_size])
    return graph


def _unquantized(layers: Layers) -> Layers:
    """Return layers for adapters and heads, which are small: no precision quantises them."""
    return replace(layers, numerics=replace(layers.numerics, quantized=False))


def _encoded(layers: Layers, features: str, valid: str) -> str:
    """Return the last hidden state, float32 `[batch, frames, hidden]`."""
    config, whole = layers.config, _unquantized(layers)
    value = project(layers, features, valid)
    value = add_positions(layers, value)
    attention = own_frames(layers, valid)
    for index in range(config.num_hidden_layers):
        value = transformer_layer(layers, index, value, attention)
        if config.adapter_attn_dim:
            value = _adapt(whole, index, value)
    return layers.named_layer_norm(value, "encoder.layer_norm", config.hidden_size)


def _adapt(layers: Layers, index: int, value: str) -> str:
    """Add a layer's adapter to the residual stream."""
    hidden, inner = layers.config.hidden_size, layers.config.adapter_attn_dim
    name = f"encoder.layers.{index}.adapter_layer"
    down = layers.matrix(f"{name}.linear_1", hidden, inner)
    up = layers.matrix(f"{name}.linear_2", inner, hidden)
    normal = layers.named_layer_norm(value, f"{name}.norm", hidden)
    squeezed = layers.graph.op("Relu", layers.linear(normal, down))
    return layers.added(value, layers.operand_linear(squeezed, layers.lowered(up)))


def _masked_mean(graph: GraphBuilder, value: str, valid: str, lengths: str) -> str:
    """Return the mean over each row's valid frames, float32 `[batch, size]`.

    Frames are masked behind the projector, whose bias would make them count otherwise.
    """
    zero = graph.constant(0.0, "float32")
    masked = graph.op("Where", graph.op("Unsqueeze", valid, graph.ints(2)), value, zero)
    total = graph.op("ReduceSum", masked, graph.ints(1), keepdims=0)
    counts = graph.op("Unsqueeze", graph.cast(lengths, "float32"), graph.ints(1))
    return graph.op("Div", total, counts)
