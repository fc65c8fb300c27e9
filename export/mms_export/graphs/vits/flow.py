"""Flow graph: sample of the prior to the decoder's features behind its first up-sampler.

The flip of the channels before each coupling layer is folded into the weights: layers move the two
halves of the latents in turn.
"""

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.vits.layers import VoiceLayers, length_mask

PRE_KERNEL = 7
"""Kernel of the decoder's first and last convolution."""


def build_flow(config: Vits, weights: Weights, numerics: Numerics) -> GraphBuilder:  # noqa: ARG001
    """Return the graph `latents, lengths -> features`."""
    graph = GraphBuilder("flow", numerics.opset)
    layers = VoiceLayers(graph, numerics, config)
    half = config.flow_size // 2
    latents = graph.input("latents", "float32", ["batch", config.flow_size, "frames"])
    lengths = graph.input("lengths", "int64", ["batch"])
    mask = length_mask(graph, latents, lengths)
    latents = graph.op("Mul", latents, mask)
    halves = graph.ops("Split", latents, graph.ints(half, half), count=2, axis=1)
    for index in reversed(range(config.prior_encoder_num_flows)):
        moved = moved_half(config, index)
        shift = _coupling(layers, f"flow.flows.{index}", halves[1 - moved], mask)
        halves[moved] = graph.op("Sub", halves[moved], shift)
    value = layers.operand(graph.op("Concat", *halves, axis=1))
    channels = config.upsample_initial_channel
    value = layers.convolution(value, "decoder.conv_pre", (config.flow_size, channels, PRE_KERNEL))
    value = graph.op("LeakyRelu", value, alpha=config.leaky_relu_slope)
    value = graph.op("Mul", value, layers.operand(mask))
    features = layers.widen(layers.upsampler(value, 0))
    shape: list[int | str] = ["batch", config.channels(0), "steps"]
    graph.output("features", features, "float32", shape)
    return graph


def moved_half(config: Vits, index: int) -> int:
    """Return the half of the unflipped latents that a coupling layer changes, 0 or 1."""
    return (config.prior_encoder_num_flows - index + 1) % 2


def _coupling(layers: VoiceLayers, name: str, given: str, mask: str) -> str:
    """Return what a coupling layer subtracts from one half, given the other."""
    graph, config = layers.graph, layers.config
    hidden, half = config.hidden_size, config.flow_size // 2
    value = layers.exact_convolution(given, f"{name}.conv_pre", (half, hidden, 1))
    value = graph.op("Mul", value, mask)
    skipped = ""
    last = config.prior_encoder_num_wavenet_layers - 1
    for index in range(last + 1):
        gates = layers.exact_convolution(
            value,
            f"{name}.wavenet.in_layers.{index}",
            (hidden, 2 * hidden, config.wavenet_kernel_size),
            dilation=config.wavenet_dilation_rate**index,
        )
        tanh, sigmoid = graph.ops("Split", gates, graph.ints(hidden, hidden), count=2, axis=1)
        gated = graph.op("Mul", graph.op("Tanh", tanh), graph.op("Sigmoid", sigmoid))
        outputs = hidden if index == last else 2 * hidden
        layer = f"{name}.wavenet.res_skip_layers.{index}"
        change = layers.exact_convolution(gated, layer, (hidden, outputs, 1))
        if index < last:
            sizes = graph.ints(hidden, hidden)
            residual, change = graph.ops("Split", change, sizes, count=2, axis=1)
            value = graph.op("Mul", graph.op("Add", value, residual), mask)
        skipped = graph.op("Add", skipped, change) if skipped else change
    skipped = graph.op("Mul", skipped, mask)
    shift = layers.exact_convolution(skipped, f"{name}.conv_post", (hidden, half, 1))
    return graph.op("Mul", shift, mask)
