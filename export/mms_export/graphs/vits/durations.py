"""Stochastic duration predictor in reverse: noise to log-durations, given the encoded text.

The flip of the two channels before each flow is folded: flows transform the two channels in turn.
Splines are dense: all bins are computed, and the one of each value is selected.
"""

from mms_export.graphs.vits.layers import VoiceLayers

MIN_BIN = 1e-3
"""Least width, height and slope of a spline's bin."""


def log_durations(layers: VoiceLayers, text: str, noise: str, mask: str) -> str:
    """Return the log-durations in frames, float32 `[B, T]`.

    Args:
        layers: Layers of the voice.
        text: Encoded text, float32 `[B, hidden, T]`.
        noise: Scaled noise, float32 `[B, 2, T]`.
        mask: Valid tokens, float32 `[B, 1, T]`.
    """
    graph, config = layers.graph, layers.config
    name, hidden = "duration_predictor", config.hidden_size
    value = layers.exact_convolution(text, f"{name}.conv_pre", (hidden, hidden, 1))
    value = _separable(layers, f"{name}.conv_dds", value, mask)
    value = layers.exact_convolution(value, f"{name}.conv_proj", (hidden, hidden, 1))
    text = graph.op("Mul", value, mask)
    channels = graph.ops("Split", noise, graph.ints(1, 1), count=2, axis=1)
    # transformers' reverse passes over the first flow behind the affine one, as VITS does.
    for index in range(config.duration_predictor_num_flows, 1, -1):
        given, moved = channels[1], channels[0]
        channels = [given, _flow(layers, f"{name}.flows.{index}", (given, moved), (text, mask))]
    result = channels[1] if config.duration_predictor_num_flows > 1 else channels[0]
    scale = layers.exact(f"{name}.flows.0.scale", 1)
    shift = layers.exact(f"{name}.flows.0.shift", 1)
    result = graph.op("Add", graph.op("Mul", result, scale), shift)
    return graph.op("Squeeze", graph.op("Mul", result, mask), graph.ints(1))


def _flow(
    layers: VoiceLayers, name: str, channels: tuple[str, str], context: tuple[str, str]
) -> str:
    """Return the second channel, transformed by a spline that the first and the text determine."""
    graph, config = layers.graph, layers.config
    given, moved = channels
    text, mask = context
    hidden, bins = config.hidden_size, config.duration_predictor_flow_bins
    value = layers.exact_convolution(given, f"{name}.conv_pre", (1, hidden, 1))
    value = _separable(layers, f"{name}.conv_dds", graph.op("Add", value, text), mask)
    value = layers.exact_convolution(value, f"{name}.conv_proj", (hidden, 3 * bins - 1, 1))
    value = layers.transposed(graph.op("Mul", value, mask))
    parts = graph.ops("Split", value, graph.ints(bins, bins, bins - 1), count=3, axis=2)
    column = layers.transposed(moved)
    result = _inverse_spline(layers, column, parts)
    return graph.op("Mul", layers.transposed(result), mask)


def _separable(layers: VoiceLayers, name: str, value: str, mask: str) -> str:
    """Return the sum of a value `[B, hidden, T]` and of depthwise-separable convolutions of it."""
    graph, config = layers.graph, layers.config
    hidden, kernel = config.hidden_size, config.duration_predictor_kernel_size
    for index in range(config.depth_separable_num_layers):
        change = layers.exact_convolution(
            graph.op("Mul", value, mask),
            f"{name}.convs_dilated.{index}",
            (hidden, hidden, kernel),
            dilation=kernel**index,
            groups=hidden,
        )
        change = layers.layer_norm(layers.transposed(change), f"{name}.norms_1.{index}", hidden)
        change = graph.op("Gelu", change)
        change = layers.linear(change, f"{name}.convs_pointwise.{index}", hidden, hidden)
        change = layers.layer_norm(change, f"{name}.norms_2.{index}", hidden)
        change = layers.transposed(graph.op("Gelu", change))
        value = graph.op("Add", value, change)
    return graph.op("Mul", value, mask)


def _inverse_spline(layers: VoiceLayers, value: str, parts: list[str]) -> str:
    """Return the inverse of a monotonic rational-quadratic spline, the identity beyond its tails.

    Durkan et al., Neural Spline Flows, equations 4 and 6 to 8. Values are clamped to the tails
    first, so that no bin gives NaN.

    Args:
        layers: Layers of the voice.
        value: Values, float32 `[B, T, 1]`.
        parts: Widths, heights and inner slopes of the bins before their activation.
    """
    graph, tail = layers.graph, layers.config.duration_predictor_tail_bound
    number = layers.number
    clamped = graph.op("Clip", value, number(-tail), number(tail))
    widths, lefts = _bins(layers, parts[0])
    heights, bottoms = _bins(layers, parts[1])
    slopes = _slopes(layers, parts[2], value)
    # The bin is the last whose lower bound is not above the value.
    reached = graph.cast(graph.op("GreaterOrEqual", clamped, bottoms), "int64")
    count = graph.op("ReduceSum", reached, graph.ints(2), keepdims=1)
    index = graph.op("Sub", count, graph.constant(1, "int64"))

    def chosen(values: str, place: str = index) -> str:
        return graph.op("GatherElements", values, place, axis=2)

    width, left = chosen(widths), chosen(lefts)
    height, bottom = chosen(heights), chosen(bottoms)
    slope, next_slope = chosen(slopes), chosen(slopes, count)
    chord = chosen(graph.op("Div", heights, widths))
    above = graph.op("Sub", clamped, bottom)
    excess = graph.op("Sub", graph.op("Add", slope, next_slope), graph.op("Add", chord, chord))
    bend = graph.op("Mul", above, excess)
    a = graph.op("Add", graph.op("Mul", height, graph.op("Sub", chord, slope)), bend)
    b = graph.op("Sub", graph.op("Mul", height, slope), bend)
    c = graph.op("Neg", graph.op("Mul", chord, above))
    square = graph.op("Mul", graph.op("Mul", a, c), number(4.0))
    discriminant = graph.op("Sub", graph.op("Mul", b, b), square)
    sqrt = graph.op("Sqrt", graph.op("Max", discriminant, number(0.0)))
    denominator = graph.op("Neg", graph.op("Add", b, sqrt))
    root = graph.op("Div", graph.op("Add", c, c), denominator)
    inside = graph.op("Add", graph.op("Mul", root, width), left)
    is_inside = graph.op("Equal", value, clamped)
    return graph.op("Where", is_inside, inside, value)


def _bins(layers: VoiceLayers, part: str) -> tuple[str, str]:
    """Return the sizes of the bins and their lower bounds, float32 `[B, T, bins]` each."""
    graph, config = layers.graph, layers.config
    bins, tail = config.duration_predictor_flow_bins, config.duration_predictor_tail_bound
    share = graph.op("Softmax", part, axis=-1)
    share = graph.op("Mul", share, layers.number(1 - MIN_BIN * bins))
    share = graph.op("Add", share, layers.number(MIN_BIN))
    ends = graph.op("CumSum", share, graph.constant(2, "int64"))
    ends = graph.op("Add", graph.op("Mul", ends, layers.number(2 * tail)), layers.number(-tail))
    inner = graph.op("Slice", ends, graph.ints(0), graph.ints(bins - 1), graph.ints(2))
    edge = graph.op("Mul", graph.op("Slice", ends, *map(graph.ints, (0, 1, 2))), layers.number(0.0))
    lower = graph.op("Add", edge, layers.number(-tail))
    upper = graph.op("Add", edge, layers.number(tail))
    starts = graph.op("Concat", lower, inner, axis=2)
    return graph.op("Sub", graph.op("Concat", inner, upper, axis=2), starts), starts


def _slopes(layers: VoiceLayers, part: str, value: str) -> str:
    """Return the slopes at the bounds of the bins, float32 `[B, T, bins + 1]`; 1 at the tails."""
    graph = layers.graph
    inner = graph.op("Add", graph.op("Softplus", part), layers.number(MIN_BIN))
    zero = graph.op("Mul", value, layers.number(0.0))
    one = graph.op("Add", zero, layers.number(1.0))
    return graph.op("Concat", one, inner, one, axis=2)
