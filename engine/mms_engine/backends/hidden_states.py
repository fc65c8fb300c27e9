"""Hidden-state graphs: an encoder graph cut behind one of its layers, in memory.

An ONNX file is a protobuf message. Its graph's outputs are replaced and everything else is copied,
so neither the package onnx nor a new export is needed; ONNX Runtime drops the nodes and weights
that the new output does not need.
"""

from collections.abc import Iterator
from dataclasses import replace

from mms_engine.backends.session import GraphFile
from mms_engine.bundle.manifest import Tensor
from mms_engine.errors import BundleCorrupt

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_OUTPUT = 1, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND = 1, 2, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT32 = 1
"""onnx.TensorProto.DataType.FLOAT: the residual stream's type in every precision."""


def hidden_state_graph(file: GraphFile, layer: int | None, layers: int, size: int) -> GraphFile:
    """Return an encoder graph whose only output is a hidden state, float32 `[B, T, size]`.

    Args:
        file: Encoder graph of a wav2vec 2.0 model.
        layer: Hidden state as transformers 5 numbers `hidden_states`: 0 for the input of the first
            layer, N for the output of layer N; `None` for the output of the final layer norm,
            `last_hidden_state`.
        layers: Layers of the model.
        size: Size of a hidden state.

    Raises:
        BundleCorrupt: the file is not such a graph.
    """
    # A hidden state is the input of the layer norm that follows it.
    is_last = layer is None or layer == layers
    norm = "encoder.layer_norm" if is_last else f"encoder.layers.{layer}.layer_norm"
    try:
        content = file.path.read_bytes()
        name = _layer_norm(content, f"{norm}.weight", is_output=layer is None)
        edited = _with_output(content, name, size)
    except (ValueError, IndexError, StopIteration, UnicodeDecodeError) as error:
        raise BundleCorrupt(
            f"{file.path} is not the encoder graph of a wav2vec 2.0 model, or has no {norm}: "
            "export the bundle again"
        ) from error
    state = Tensor(
        name=name,
        dtype="float32",
        shape=("batch", "frames", size),
        meaning="hidden states; undefined beyond a row's length",
    )
    return GraphFile(replace(file.graph, outputs=(state,)), file.path, edited)


def _layer_norm(model: bytes, weight: str, *, is_output: bool) -> str:
    """Return the name of the input or output of the layer norm that has a weight."""
    graph = next(value for field, _, value in _fields(model) if field == _MODEL_GRAPH)
    for field, _, node in _fields(graph):
        if field != _GRAPH_NODE:
            continue
        parts = [(key, value) for key, _, value in _fields(node)]
        inputs = [value for key, value in parts if key == _NODE_INPUT]
        if (_NODE_KIND, b"LayerNormalization") in parts and weight.encode() in inputs:
            outputs = [value for key, value in parts if key == _NODE_OUTPUT]
            return (outputs if is_output else inputs)[0].decode()
    raise ValueError(f"no layer norm has the weight {weight}")


def _with_output(model: bytes, name: str, size: int) -> bytes:
    """Return a model whose graph has one output only, float32 `[batch, frames, size]`."""
    dims = [_message(1, _message(2, text)) for text in (b"batch", b"frames")]
    shape = b"".join(dims) + _message(1, _number(1, size))
    tensor = _number(1, _FLOAT32) + _message(2, shape)
    output = _message(1, name.encode()) + _message(2, _message(1, tensor))
    parts = []
    for field, raw, value in _fields(model):
        if field != _MODEL_GRAPH:
            parts.append(raw)
            continue
        kept = b"".join(each for key, each, _ in _fields(value) if key != _GRAPH_OUTPUT)
        parts.append(_message(_MODEL_GRAPH, kept + _message(_GRAPH_OUTPUT, output)))
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each field of a message: its number, its bytes as a whole, and its value if bytes.

    Raises:
        ValueError, IndexError: it is not a message.
    """
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        kind, value = tag & 7, b""
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, position = _varint(message, position)
            value = message[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {kind}")
        if position > len(message):
            raise ValueError("the message is truncated")
        yield tag >> 3, message[start:position], value


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the variable-length integer at a position, and the position behind it."""
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position


def _written(number: int) -> bytes:
    """Return a variable-length integer."""
    content = bytearray()
    while number >= 0x80:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def _number(field: int, value: int) -> bytes:
    return _written(field << 3 | _VARINT) + _written(value)


def _message(field: int, content: bytes) -> bytes:
    return _written(field << 3 | _BYTES) + _written(len(content)) + content
