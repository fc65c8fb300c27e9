"""Decoder graph: features behind the first up-sampler to samples, for any part of a sentence.

Steps outside the sentence are zero before every convolution, as around a sentence that is computed
alone and whole.
"""

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.vits.flow import PRE_KERNEL
from mms_export.graphs.vits.layers import VoiceLayers
from mms_export.graphs.vits.quantized import block_name, quantized_blocks, stage_place
from mms_export.graphs.wav2vec2.encoder import positions

SAMPLES = ("batch", "samples")
LAST_SLOPE = 0.01
"""Slope of the activation before the last convolution, that of torch."""


def build_decoder(config: Vits, weights: Weights, numerics: Numerics) -> GraphBuilder:  # noqa: ARG001
    """Return the graph `features, valid -> samples`.

    On a CPU, masks cost 6 to 20 % of the time, so a batch whose steps are all valid takes a branch
    without them, which gives the same bits. GPUs fuse masks with their neighbours.
    """
    graph = GraphBuilder("decoder", numerics.opset)
    layers = VoiceLayers(graph, numerics, config)
    features, valid = decoder_inputs(layers)
    if numerics.operands == "float32":
        whole, partial = layers.branch("whole"), layers.branch("partial")
        for part, steps in ((whole, ""), (partial, valid)):
            result = decode(part, features, steps)
            part.graph.output(f"{part.graph.name}_samples", result, "float32", SAMPLES)
        samples = graph.choose(_all_valid(graph, features, valid), whole.graph, partial.graph)
    else:
        samples = decode(layers, features, valid)
    graph.output("samples", samples, "float32", SAMPLES)
    return graph


def decoder_inputs(layers: VoiceLayers) -> tuple[str, str]:
    """Declare and return `features` and `valid`."""
    shape: list[int | str] = ["batch", layers.config.channels(0), "steps"]
    features = layers.graph.input("features", "float32", shape)
    return features, layers.graph.input("valid", "int64", ["batch", 2])


def decode(layers: VoiceLayers, features: str, valid: str) -> str:
    """Return the samples, float32 `[B, S K]`.

    Args:
        layers: Layers of the voice.
        features: Features, float32 `[B, C, S]`.
        valid: First and end of each row's valid steps, int64 `[B, 2]`; empty if all are valid.
    """
    graph, config, numerics = layers.graph, layers.config, layers.numerics
    value, slope = layers.operand(features), config.leaky_relu_slope
    blocks = quantized_blocks if numerics.quantized else _blocks
    for stage in range(len(config.upsample_rates)):
        if stage:
            value = layers.upsampler(graph.op("LeakyRelu", value, alpha=slope), stage)
        mask = inside = ""
        if valid:
            if stage:
                rate = graph.constant(config.upsample_rates[stage], "int64")
                valid = graph.op("Mul", valid, rate)
            inside = valid_steps(graph, value, valid)
            mask = graph.cast(inside, numerics.operands)
        value = layers.masked(value, mask)
        value = blocks(layers, stage, value, inside if numerics.quantized else mask)
        value = layers.masked(value, mask)
    value = graph.op("LeakyRelu", value, alpha=LAST_SLOPE)
    sizes = (config.channels(len(config.upsample_rates) - 1), 1, PRE_KERNEL)
    value = layers.convolution(value, "decoder.conv_post", sizes, has_bias=False)
    return graph.op("Squeeze", graph.op("Tanh", layers.widen(value)), graph.ints(1))


def _all_valid(graph: GraphBuilder, features: str, valid: str) -> str:
    """Return whether every step of every row is valid, bool `[1]`."""
    first, end = graph.ops("Split", valid, graph.ints(1, 1), count=2, axis=1)
    axes = graph.ints(0, 1)
    latest = graph.op("ReduceMax", first, axes, keepdims=0)
    earliest = graph.op("ReduceMin", end, axes, keepdims=0)
    steps = graph.op("Squeeze", graph.op("Shape", features, start=2, end=3), graph.ints(0))
    begins = graph.op("LessOrEqual", latest, graph.constant(0, "int64"))
    return graph.op("And", begins, graph.op("GreaterOrEqual", earliest, steps))


def valid_steps(graph: GraphBuilder, value: str, valid: str) -> str:
    """Return whether each step of a value `[B, C, S]` is valid in its row, bool `[B, 1, S]`."""
    first, end = graph.ops("Split", valid, graph.ints(1, 1), count=2, axis=1)
    steps = positions(graph, value, axis=2)
    begun = graph.op("GreaterOrEqual", steps, first)
    inside = graph.op("And", begun, graph.op("Less", steps, end))
    return graph.op("Unsqueeze", inside, graph.ints(1))


def _blocks(layers: VoiceLayers, stage: int, value: str, mask: str) -> str:
    """Return the sum of a stage's residual blocks; the next layer's weights hold the division."""
    config, graph = layers.config, layers.graph
    total = ""
    # The blocks begin with the same activation of the same value.
    first = graph.op("LeakyRelu", value, alpha=config.leaky_relu_slope)
    layers.places[stage_place(stage)] = first
    for index, kernel in enumerate(config.resblock_kernel_sizes):
        name = block_name(config, stage, index)
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
            active = graph.op("LeakyRelu", layers.masked(value, mask), alpha=slope)
            layers.places[f"{name}.convs1.{layer}.input"] = active
        first, second = f"{name}.convs1.{layer}", f"{name}.convs2.{layer}"
        change = layers.convolution(active, first, sizes, dilation=dilation)
        layers.places[f"{first}.output"] = change
        change = layers.masked(graph.op("LeakyRelu", change, alpha=slope), mask)
        layers.places[f"{second}.input"] = change
        change = layers.convolution(change, second, sizes)
        layers.places[f"{second}.output"] = change
        value = graph.op("Add", value, change)
    return value
