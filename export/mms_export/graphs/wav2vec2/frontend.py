"""Frontend graph: audio to features, a stack of convolutions over time.

Channels are last throughout: a convolution is a concatenation of shifted rows and one matrix
product, and the layer norm over channels needs no transpose.
"""

from dataclasses import replace

from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.layers import Layers, Matrix
from mms_export.graphs.numerics import Numerics


def build_frontend(config: Wav2Vec2, weights: Weights, numerics: Numerics) -> GraphBuilder:
    """Return the graph `audio [batch, samples] -> features [batch, frames, feature_size]`."""
    graph = GraphBuilder("frontend", numerics.opset)
    # Without a residual stream, seven layers accumulate the error of 8-bit products: 5 % of the
    # features at 1B widths, twice the error of the whole encoder. They stay in float32.
    layers = Layers(graph, replace(numerics, quantized=False), config, weights)
    audio = graph.input("audio", "float32", ["batch", "samples"])
    value = graph.op("Unsqueeze", audio, graph.ints(2))
    channels = 1
    for index, outputs in enumerate(config.conv_dim):
        windows = _windows(
            graph, value, channels, config.conv_kernel[index], config.conv_stride[index]
        )
        matrix = _matrix(weights, index, channels * config.conv_kernel[index], outputs)
        value = layers.widen(layers.linear(windows, matrix))
        norm = f"feature_extractor.conv_layers.{index}.layer_norm"
        value = graph.op("Gelu", layers.named_layer_norm(value, norm, outputs))
        channels = outputs
    graph.output("features", value, "float32", ["batch", "frames", channels])
    return graph


def _matrix(weights: Weights, index: int, inputs: int, outputs: int) -> Matrix:
    name = f"feature_extractor.conv_layers.{index}.conv"
    return Matrix(
        name=name,
        inputs=inputs,
        outputs=outputs,
        # [outputs, channels, kernel] -> rows in the order of the windows: kernel, then channels.
        weight=lambda: weights.read(f"{name}.weight").transpose(2, 1, 0).reshape(inputs, outputs),
        bias=lambda: weights.read(f"{name}.bias"),
    )


def _windows(graph: GraphBuilder, value: str, channels: int, kernel: int, stride: int) -> str:
    """Concatenate the `kernel` input rows of each output frame.

    `value` is `[B, n, channels]`; the result `[B, (n - kernel) // stride + 1, kernel * channels]`.
    Rows that make up whole strides are reshaped rather than copied one by one.
    """
    whole, rest = divmod(kernel, stride)
    length = graph.op("Shape", value, start=1, end=2)
    shrunk = graph.op("Sub", length, graph.ints(kernel - stride))
    frames = graph.op("Div", shrunk, graph.ints(stride))
    blocks = _blocks(graph, value, channels, stride, graph.op("Add", frames, graph.ints(whole - 1)))
    pieces = [blocks]
    if whole > 1:
        pieces = [
            graph.op(
                "Slice",
                blocks,
                graph.ints(start),
                graph.op("Add", frames, graph.ints(start)),
                graph.ints(1),
            )
            for start in range(whole)
        ]
    for offset in range(whole * stride, whole * stride + rest):
        end = graph.ints(2**62)
        strided = graph.op(
            "Slice", value, graph.ints(offset), end, graph.ints(1), graph.ints(stride)
        )
        pieces.append(
            graph.op("Slice", strided, graph.ints(0), frames, graph.ints(1))
            if rest > 1
            else strided
        )
    return pieces[0] if len(pieces) == 1 else graph.op("Concat", *pieces, axis=-1)


def _blocks(graph: GraphBuilder, value: str, channels: int, stride: int, count: str) -> str:
    """Return the first `count` groups of `stride` rows as rows of `stride * channels`."""
    end = graph.op("Mul", count, graph.ints(stride))
    rows = graph.op("Slice", value, graph.ints(0), end, graph.ints(1))
    return graph.op("Reshape", rows, graph.ints(0, -1, stride * channels))
