"""Decoder graph: features behind the first up-sampler to samples, for any part of a sentence.

Steps outside the sentence are zero before every convolution, as around a sentence that is computed
alone and whole.
"""

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.vits.flow import PRE_KERNEL
from mms_export.graphs.vits.layers import VoiceLayers, channel_mask
from mms_export.graphs.wav2vec2.encoder import positions

LAST_SLOPE = 0.01
"""Slope of the activation before the last convolution, that of torch."""


def build_decoder(config: Vits, weights: Weights, numerics: Numerics) -> GraphBuilder:  # noqa: ARG001
    """Return the graph `features, valid -> samples`."""
    graph = GraphBuilder("decoder", numerics.opset)
    layers = VoiceLayers(graph, numerics, config)
    features = graph.input("features", "float32", ["batch", config.channels(0), "steps"])
    valid = graph.input("valid", "int64", ["batch", 2])
    value, slope = layers.operand(features), config.leaky_relu_slope
    for stage in range(len(config.upsample_rates)):
        if stage:
            value = layers.upsampler(graph.op("LeakyRelu", value, alpha=slope), stage)
            rate = graph.constant(config.upsample_rates[stage], "int64")
            valid = graph.op("Mul", valid, rate)
        mask = step_mask(graph, value, valid, numerics.operands)
        value = graph.op("Mul", value, mask)
        value = graph.op("Mul", _blocks(layers, stage, value, mask), mask)
    value = graph.op("LeakyRelu", value, alpha=LAST_SLOPE)
    sizes = (config.channels(len(config.upsample_rates) - 1), 1, PRE_KERNEL)
    value = layers.convolution(value, "decoder.conv_post", sizes, has_bias=False)
    samples = graph.op("Squeeze", graph.op("Tanh", layers.widen(value)), graph.ints(1))
    graph.output("samples", samples, "float32", ["batch", "samples"])
    return graph


def step_mask(graph: GraphBuilder, value: str, valid: str, dtype: str) -> str:
    """Return 1 inside each row's first and last valid step and 0 elsewhere, `[B, 1, S]`."""
    first, end = graph.ops("Split", valid, graph.ints(1, 1), count=2, axis=1)
    steps = positions(graph, value, axis=2)
    begun = graph.op("GreaterOrEqual", steps, first)
    inside = graph.op("And", begun, graph.op("Less", steps, end))
    return channel_mask(graph, inside, dtype)


def _blocks(layers: VoiceLayers, stage: int, value: str, mask: str) -> str:
    """Return the sum of a stage's residual blocks; the next layer's weights hold the division."""
    config, graph = layers.config, layers.graph
    total = ""
    # The blocks begin with the same activation of the same value.
    first = graph.op("LeakyRelu", value, alpha=config.leaky_relu_slope)
    for index, kernel in enumerate(config.resblock_kernel_sizes):
        name = f"decoder.resblocks.{stage * len(config.resblock_kernel_sizes) + index}"
        result = _block(layers, name, (value, first, mask), (stage, kernel, index))
        total = graph.op("Add", total, result) if total else result
    return total


def _block(
    layers: VoiceLayers, name: str, values: tuple[str, str, str], place: tuple[int, int, int]
) -> str:
    """Return the output of one residual block.

    Args:
        layers: Layers of the voice.
        name: Name of the block.
        values: Input, its activation, and the mask; the input is zero outside the sentence.
        place: Stage, kernel, and index of the dilations.
    """
    graph, config = layers.graph, layers.config
    value, active, mask = values
    stage, kernel, index = place
    sizes = (config.channels(stage), config.channels(stage), kernel)
    slope = config.leaky_relu_slope
    for layer, dilation in enumerate(config.resblock_dilation_sizes[index]):
        if layer:
            active = graph.op("LeakyRelu", graph.op("Mul", value, mask), alpha=slope)
        change = layers.convolution(active, f"{name}.convs1.{layer}", sizes, dilation=dilation)
        change = graph.op("Mul", graph.op("LeakyRelu", change, alpha=slope), mask)
        change = layers.convolution(change, f"{name}.convs2.{layer}", sizes)
        value = graph.op("Add", value, change)
    return value
