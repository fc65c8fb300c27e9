"""Residual blocks of the decoder in 8-bit integers, whose scales are inputs like the weights.

The convolutions are nearly all of the work. Activations between the two convolutions of a pair stay
integers; the residual stream is float32. Channels differ in level by orders of magnitude, and eight
bits hold them all only if they are brought near each other. Within a pair this costs nothing at run
time: LeakyReLU preserves a positive factor, so that the first convolution may divide by what the
second multiplies by (Nagel et al., Data-Free Quantization through Weight Equalization, 4.1). The
output of a pair is divided by a factor for each channel, by which it is multiplied in float32.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import FloatArray
from mms_export.graphs.builder import CONTRIB, Array
from mms_export.graphs.quantize import WEIGHT_LIMIT
from mms_export.graphs.vits.layers import VoiceLayers, window

LEVELS = 255
EQUALISATION = 0.75
"""Exponent of the peaks between the convolutions of a pair: at 1 the second one's weights lose what
the activations gain."""
_LEAST_SHARE = 1e-3
"""Least share of the greatest peak that a channel is raised from."""

Range = tuple[FloatArray, FloatArray]
"""Least and greatest value of each channel `[C]`."""


def stage_place(stage: int) -> str:
    """Return the name of the value that a stage's blocks begin with."""
    return f"decoder.stages.{stage}.input"


def block_name(config: Vits, stage: int, index: int) -> str:
    """Return the name of a stage's residual block."""
    return f"decoder.resblocks.{stage * len(config.resblock_kernel_sizes) + index}"


def quantized_blocks(layers: VoiceLayers, stage: int, value: str, inside: str) -> str:
    """Return the sum of a stage's residual blocks.

    Args:
        layers: Layers of the voice.
        stage: Stage of the decoder.
        value: Input of the blocks, zero outside the sentence, float32 `[B, C, S]`.
        inside: Steps of the sentence, bool `[B, 1, S]`; empty if all are.
    """
    config, graph = layers.config, layers.graph
    # Integer convolutions take channels last, as ONNX Runtime would rewrite each of them.
    value = layers.transposed(value)
    inside = layers.transposed(inside) if inside else ""
    active = graph.op("LeakyRelu", value, alpha=config.leaky_relu_slope)
    first = _integers(layers, active, stage_place(stage))
    total = ""
    for index, kernel in enumerate(config.resblock_kernel_sizes):
        name = block_name(config, stage, index)
        result = _block(layers, name, (value, first, inside), (stage, kernel, index))
        total = graph.op("Add", total, result) if total else result
    return layers.transposed(total)


def _block(
    layers: VoiceLayers, name: str, values: tuple[str, str, str], place: tuple[int, int, int]
) -> str:
    graph, config = layers.graph, layers.config
    value, active, inside = values
    stage, kernel, index = place
    sizes, slope = (config.channels(stage), kernel), config.leaky_relu_slope
    source = stage_place(stage)
    for layer, dilation in enumerate(config.resblock_dilation_sizes[index]):
        first, second = f"{name}.convs1.{layer}", f"{name}.convs2.{layer}"
        if layer:
            source = f"{first}.input"
            active = _integers(layers, graph.op("LeakyRelu", value, alpha=slope), source)
        change = _convolution(layers, active, (first, source), sizes, dilation)
        change = graph.op(
            "QLinearLeakyRelu",
            change,
            *_scale(layers, f"{first}.output"),
            *_scale(layers, f"{second}.input"),
            domain=CONTRIB,
            alpha=slope,
        )
        change = _inside(layers, change, inside, f"{second}.input")
        change = _convolution(layers, change, (second, f"{second}.input"), sizes, 1)
        change = _inside(layers, change, inside, f"{second}.output")
        change = graph.op("DequantizeLinear", change, *_scale(layers, f"{second}.output"))
        factors = layers.typed_weight(f"{second}.output_factor", "float32", sizes[0])
        value = graph.op("Add", value, graph.op("Mul", change, factors))
    return value


def _scale(layers: VoiceLayers, place: str) -> tuple[str, str]:
    """Return the scale and the zero point of a value."""
    scale = layers.typed_weight(f"{place}_scale", "float32")
    return scale, layers.typed_weight(f"{place}_zero", "uint8")


def _integers(layers: VoiceLayers, value: str, place: str) -> str:
    return layers.graph.op("QuantizeLinear", value, *_scale(layers, place))


def _inside(layers: VoiceLayers, integers: str, inside: str, place: str) -> str:
    """Make steps outside the sentence zero."""
    zero = _scale(layers, place)[1]
    return layers.graph.op("Where", inside, integers, zero) if inside else integers


def _convolution(
    layers: VoiceLayers,
    integers: str,
    names: tuple[str, str],
    sizes: tuple[int, int],
    dilation: int,
) -> str:
    """Convolve to the same length; `names` are those of the layer and of its input's scale."""
    name, source = names
    channels, kernel = sizes
    graph = layers.graph
    return graph.op(
        "QLinearConv",
        integers,
        *_scale(layers, source),
        layers.typed_weight(f"{name}.weight_int8", "int8", channels, channels, kernel),
        layers.typed_weight(f"{name}.weight_scale", "float32", channels),
        graph.constant(0, "int8"),
        *_scale(layers, f"{name}.output"),
        layers.typed_weight(f"{name}.bias_int32", "int32", channels),
        domain=CONTRIB,
        channels_last=1,
        **window(kernel, dilation),
    )


def quantize_convolutions(
    config: Vits, tensors: Mapping[str, Array], ranges: Mapping[str, Range]
) -> Iterator[tuple[str, Array]]:
    """Yield the quantised weights, the scales, zero points and factors of a voice's blocks.

    Args:
        config: Network sizes.
        tensors: Tensors of the voice, under the names of the graphs' inputs.
        ranges: Range of each channel at each place.
    """
    for stage in range(len(config.upsample_rates)):
        place = stage_place(stage)
        source = value_scale(*ranges[place])
        yield from _scale_tensors(place, source)
        for index, dilations in enumerate(config.resblock_dilation_sizes):
            for layer in range(len(dilations)):
                name = block_name(config, stage, index)
                first, second = f"{name}.convs1.{layer}", f"{name}.convs2.{layer}"
                begin = source
                if layer:
                    begin = value_scale(*ranges[f"{first}.input"])
                    yield from _scale_tensors(f"{first}.input", begin)
                yield from _quantized_pair((first, second), tensors, ranges, begin[0])


def _quantized_pair(
    names: tuple[str, str],
    tensors: Mapping[str, Array],
    ranges: Mapping[str, Range],
    input_scale: np.float32,
) -> Iterator[tuple[str, Array]]:
    """Yield the tensors of two convolutions, with their channels brought near each other."""
    first, second = names
    between = _factors(ranges[f"{second}.input"], EQUALISATION)
    behind = _factors(ranges[f"{second}.output"], 1.0)
    yield f"{second}.output_factor", behind
    scales = {}
    for place, factors in (
        (f"{first}.output", between),
        (f"{second}.input", between),
        (f"{second}.output", behind),
    ):
        low, high = ranges[place]
        scales[place] = value_scale(low / factors, high / factors)
        yield from _scale_tensors(place, scales[place])
    ones = np.ones_like(between)
    yield from _quantized(first, tensors, input_scale, (ones, between))
    yield from _quantized(second, tensors, scales[f"{second}.input"][0], (between, behind))


def _factors(extent: Range, exponent: float) -> FloatArray:
    """Return a factor for each channel, 1 for the loudest, that equalises their peaks."""
    low, high = extent
    peaks = np.maximum(-low, high)
    loudest = peaks.max(initial=0)
    if loudest <= 0:
        return np.ones(len(peaks), np.float32)
    shares = np.maximum(peaks / loudest, _LEAST_SHARE)
    return np.asarray(shares**exponent, np.float32)


def _scale_tensors(place: str, value: tuple[np.float32, int]) -> Iterator[tuple[str, Array]]:
    scale, zero = value
    yield f"{place}_scale", np.full((), scale, np.float32)
    yield f"{place}_zero", np.full((), zero, np.uint8)


def value_scale(low: FloatArray, high: FloatArray) -> tuple[np.float32, int]:
    """Return the scale and the zero point of values in ranges, which are extended to hold 0."""
    least, greatest = low.min(initial=0), high.max(initial=0)
    scale = np.float32(max(greatest - least, 1e-8) / LEVELS)
    return scale, int(np.clip(np.rint(-least / scale), 0, LEVELS))


def _quantized(
    name: str,
    tensors: Mapping[str, Array],
    input_scale: np.float32,
    factors: tuple[FloatArray, FloatArray],
) -> Iterator[tuple[str, Array]]:
    """Yield the tensors of a convolution, whose channels are divided by factors.

    Args:
        name: Name of the convolution.
        tensors: Tensors of the voice.
        input_scale: Scale of its input.
        factors: Factors of its inputs and its outputs.
    """
    inputs, outputs = factors
    weight: FloatArray = tensors[f"{name}.weight"].astype(np.float32)
    weight = weight * inputs[:, None] / outputs[:, None, None]
    peak = np.abs(weight).max(axis=(1, 2))
    scale = np.where(peak > 0, peak / WEIGHT_LIMIT, 1).astype(np.float32)
    yield f"{name}.weight_int8", np.rint(weight / scale[:, None, None]).astype(np.int8)
    yield f"{name}.weight_scale", scale
    bias = tensors[f"{name}.bias"].astype(np.float64) / outputs
    bias = bias / (input_scale.astype(np.float64) * scale)
    limit = np.iinfo(np.int32)
    yield f"{name}.bias_int32", np.clip(np.rint(bias), limit.min, limit.max).astype(np.int32)
