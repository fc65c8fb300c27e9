"""Residual blocks of the decoder in 8-bit integers, whose scales are inputs like the weights.

The convolutions are nearly all of the work. Activations between the two convolutions of a pair stay
integers; the residual stream is float32.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import FloatArray
from mms_export.graphs.builder import CONTRIB, Array
from mms_export.graphs.quantize import WEIGHT_LIMIT
from mms_export.graphs.vits.layers import VoiceLayers, window

LEVELS = 255


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
        value = graph.op("Add", value, change)
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
    config: Vits, tensors: Mapping[str, Array], ranges: Mapping[str, tuple[float, float]]
) -> Iterator[tuple[str, Array]]:
    """Yield the quantised weights, the scales and the zero points of a voice's blocks.

    Args:
        config: Network sizes.
        tensors: Tensors of the voice, under the names of the graphs' inputs.
        ranges: Smallest and largest value at each place.
    """
    scales = {place: value_scale(*extent) for place, extent in ranges.items()}
    for place, (scale, zero) in scales.items():
        yield f"{place}_scale", np.full((), scale, np.float32)
        yield f"{place}_zero", np.full((), zero, np.uint8)
    for stage in range(len(config.upsample_rates)):
        for index, dilations in enumerate(config.resblock_dilation_sizes):
            for layer in range(len(dilations)):
                for part in ("convs1", "convs2"):
                    name = f"{block_name(config, stage, index)}.{part}.{layer}"
                    is_first = part == "convs1" and layer == 0
                    source = stage_place(stage) if is_first else f"{name}.input"
                    yield from _quantized(name, tensors, scales[source][0])


def value_scale(low: float, high: float) -> tuple[np.float32, int]:
    """Return the scale and the zero point of values in a range, which is extended to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max(high - low, 1e-8) / LEVELS)
    return scale, int(np.clip(np.rint(-low / scale), 0, LEVELS))


def _quantized(
    name: str, tensors: Mapping[str, Array], input_scale: np.float32
) -> Iterator[tuple[str, Array]]:
    weight: FloatArray = tensors[f"{name}.weight"].astype(np.float32)
    peak = np.abs(weight).max(axis=(1, 2))
    scale = np.where(peak > 0, peak / WEIGHT_LIMIT, 1).astype(np.float32)
    yield f"{name}.weight_int8", np.rint(weight / scale[:, None, None]).astype(np.int8)
    yield f"{name}.weight_scale", scale
    bias = tensors[f"{name}.bias"].astype(np.float64) / (input_scale.astype(np.float64) * scale)
    limit = np.iinfo(np.int32)
    yield f"{name}.bias_int32", np.clip(np.rint(bias), limit.min, limit.max).astype(np.int32)
