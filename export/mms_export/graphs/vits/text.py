"""Text graph: token ids to the prior's statistics and log-durations."""

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.vits.durations import log_durations
from mms_export.graphs.vits.layers import VoiceLayers, channel_mask
from mms_export.graphs.wav2vec2.encoder import attention_mask, below, positions


def build_text(config: Vits, weights: Weights, numerics: Numerics) -> GraphBuilder:  # noqa: ARG001
    """Return the graph `ids, lengths, duration_noise -> means, log_scales, log_durations`."""
    graph = GraphBuilder("text", numerics.opset)
    layers = VoiceLayers(graph, numerics, config)
    hidden, size = config.hidden_size, config.flow_size
    ids = graph.input("ids", "int64", ["batch", "tokens"])
    lengths = graph.input("lengths", "int64", ["batch"])
    noise = graph.input("duration_noise", "float32", ["batch", 2, "tokens"])

    valid = below(graph, positions(graph, ids, axis=1), lengths)
    mask = channel_mask(graph, valid)
    columns = layers.transposed(mask)
    table = layers.weight("text_encoder.embed_tokens.weight", "vocab", hidden)
    value = layers.widen(graph.op("Gather", table, ids, axis=0))
    value = graph.op("Mul", value, columns)
    blocked = attention_mask(graph, valid)
    for index in range(config.num_hidden_layers):
        value = _layer(layers, f"text_encoder.encoder.layers.{index}", value, (columns, blocked))
    value = graph.op("Mul", value, columns)

    statistics = layers.linear(value, "text_encoder.project", hidden, 2 * size)
    statistics = graph.op("Mul", layers.transposed(statistics), mask)
    means, log_scales = graph.ops("Split", statistics, graph.ints(size, size), count=2, axis=1)
    durations = log_durations(layers, layers.transposed(value), noise, mask)
    shape: list[int | str] = ["batch", size, "tokens"]
    graph.output("means", means, "float32", shape)
    graph.output("log_scales", log_scales, "float32", shape)
    graph.output("log_durations", durations, "float32", ["batch", "tokens"])
    return graph


def _layer(layers: VoiceLayers, name: str, value: str, masks: tuple[str, str]) -> str:
    """Return the output `[B, T, hidden]` of an encoder layer; norms follow the residual sums.

    `masks` are that of the rows `[B, T, 1]` and that of the keys `[B, 1, 1, T]`.
    """
    graph, hidden = layers.graph, layers.config.hidden_size
    columns, blocked = masks
    change = _attention(layers, f"{name}.attention", value, blocked)
    value = layers.layer_norm(graph.op("Add", value, change), f"{name}.layer_norm", hidden)
    change = _feed_forward(layers, f"{name}.feed_forward", value, columns)
    return layers.layer_norm(graph.op("Add", value, change), f"{name}.final_layer_norm", hidden)


def _feed_forward(layers: VoiceLayers, name: str, value: str, columns: str) -> str:
    graph, config = layers.graph, layers.config
    hidden, inner, kernel = config.hidden_size, config.ffn_dim, config.ffn_kernel_size
    mask = layers.transposed(columns)
    value = layers.transposed(graph.op("Mul", value, columns))
    value = layers.exact_convolution(value, f"{name}.conv_1", (hidden, inner, kernel))
    value = graph.op("Mul", graph.op("Relu", value), mask)
    value = layers.exact_convolution(value, f"{name}.conv_2", (inner, hidden, kernel))
    return layers.transposed(graph.op("Mul", value, mask))


def _attention(layers: VoiceLayers, name: str, value: str, blocked: str) -> str:
    """Return self-attention with an embedding per distance of at most `window_size` tokens."""
    graph, config = layers.graph, layers.config
    hidden, heads = config.hidden_size, config.num_attention_heads
    size, distances = hidden // heads, 2 * config.window_size + 1
    query, key, values = (
        graph.op(
            "Reshape",
            layers.linear(value, f"{name}.{part}_proj", hidden, hidden),
            graph.ints(0, 0, heads, size),
        )
        for part in "qkv"
    )
    query = layers.operand(graph.op("Transpose", query, perm=[0, 2, 1, 3]))
    key = layers.operand(graph.op("Transpose", key, perm=[0, 2, 3, 1]))
    values = layers.operand(graph.op("Transpose", values, perm=[0, 2, 1, 3]))
    near = graph.op("MatMul", query, layers.weight(f"{name}.emb_rel_k", size, distances))
    scores = layers.widen(graph.op("MatMul", query, key))
    scores = graph.op("Add", scores, _by_key(layers, layers.widen(near), value))
    scores = graph.op("Add", scores, blocked)
    shares = graph.op("Softmax", scores, axis=-1)
    result = layers.widen(graph.op("MatMul", layers.operand(shares), values))
    near = layers.operand(_by_distance(layers, shares, value))
    embedded = graph.op("MatMul", near, layers.weight(f"{name}.emb_rel_v", distances, size))
    result = graph.op("Add", result, layers.widen(embedded))
    result = graph.op("Transpose", result, perm=[0, 2, 1, 3])
    result = graph.op("Reshape", result, graph.ints(0, 0, hidden))
    return layers.linear(result, f"{name}.out_proj", hidden, hidden)


def _by_key(layers: VoiceLayers, near: str, value: str) -> str:
    """Return scores by distance, `[B, heads, T, 2 W + 1]`, as scores by key, `[B, heads, T, T]`.

    Rows are written one element longer than they are read, which moves each by one key.
    """
    graph, window = layers.graph, layers.config.window_size
    tokens = graph.op("Shape", value, start=1, end=2)
    wide = _padded(graph, near, graph.ints(0), tokens)
    flat = graph.op("Reshape", wide, graph.ints(0, 0, -1))
    width = graph.op("Add", tokens, graph.ints(2 * window))
    flat = _sliced(graph, flat, graph.ints(0), graph.op("Mul", tokens, width), axis=2)
    skewed = graph.op("Reshape", flat, _shape(graph, tokens, width))
    end = graph.op("Add", tokens, graph.ints(window))
    return _sliced(graph, skewed, graph.ints(window), end, axis=3)


def _by_distance(layers: VoiceLayers, shares: str, value: str) -> str:
    """Return shares by key, `[B, heads, T, T]`, as shares by distance, `[B, heads, T, 2 W + 1]`."""
    graph, window = layers.graph, layers.config.window_size
    distances = 2 * window + 1
    tokens = graph.op("Shape", value, start=1, end=2)
    wide = _padded(graph, shares, graph.ints(window), graph.ints(window))
    flat = _padded(graph, graph.op("Reshape", wide, graph.ints(0, 0, -1)), graph.ints(0), tokens)
    width = graph.op("Add", tokens, graph.ints(distances))
    skewed = graph.op("Reshape", flat, _shape(graph, tokens, width))
    return _sliced(graph, skewed, graph.ints(0), graph.ints(distances), axis=3)


def _padded(graph: GraphBuilder, value: str, before: str, after: str) -> str:
    """Pad the last axis with zeros."""
    pads = graph.op("Concat", before, after, axis=0)
    return graph.op("Pad", value, pads, graph.constant(0.0, "float32"), graph.ints(-1))


def _sliced(graph: GraphBuilder, value: str, start: str, end: str, *, axis: int) -> str:
    return graph.op("Slice", value, start, end, graph.ints(axis))


def _shape(graph: GraphBuilder, rows: str, columns: str) -> str:
    return graph.op("Concat", graph.ints(0, 0), rows, columns, axis=0)
