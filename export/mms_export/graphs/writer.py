"""Graph files, with weights streamed one by one; equal graphs give equal bytes."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mms_engine.bundle.files import atomic_open
from mms_engine.errors import MmsError
from mms_export.graphs.builder import CONTRIB, DTYPES, IR_VERSION, Array, GraphBuilder, Weight

Advance = Callable[[int], object]
"""Progress callback: called with the number of bytes written."""
INLINE_TOTAL = 32 << 20
"""Bytes of weights up to which a graph is one file."""
INLINE_TENSOR = 1 << 10
"""Bytes up to which a tensor always lies in the `.onnx`."""
ALIGNMENT = 4096
"""Alignment of large tensors in the data file, for memory mapping."""
SMALL_ALIGNMENT = 64


def data_path(path: Path) -> Path:
    """Return the path of the external data of the graph at `path`."""
    return path.with_name(f"{path.name}.data")


def write_graph(graph: GraphBuilder, path: Path, advance: Advance) -> list[Path]:
    """Write a graph.

    Args:
        graph: Graph to write.
        path: Path of the `.onnx`; external data goes beside it.
        advance: Called with the bytes of each weight written.

    Returns:
        Files written, the `.onnx` first.

    Raises:
        BundleError: the file system refused.
        MmsError: a weight is not finite in its dtype.
    """
    inline = sum(weight.nbytes for weight in graph.weights) <= INLINE_TOTAL
    tensors, outside = [], []
    for weight in graph.weights:
        if inline or weight.nbytes <= INLINE_TENSOR:
            tensors.append(numpy_helper.from_array(checked(weight), weight.name))
            advance(weight.nbytes)
        else:
            outside.append(weight)
    files = [path]
    if outside:
        tensors += write_weights(outside, data_path(path), advance)
        files.append(data_path(path))
    write_model(graph, tensors, path)
    return files


def write_sharing(graph: GraphBuilder, path: Path, original: Path) -> list[Path]:
    """Write a graph that shares the weights, and the data file, of the graph at `original`.

    Returns:
        Files of the graph, its own `.onnx` first.

    Raises:
        ValueError: a weight differs between the two.
    """
    model = onnx.load(original, load_external_data=False)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for weight in graph.weights:
        tensor = tensors[weight.name]
        if tuple(tensor.dims) != weight.shape or tensor.data_type != DTYPES[weight.dtype]:
            raise ValueError(f"weight {weight.name} of {original} is not that of {graph.name}")
    write_model(graph, [tensors[weight.name] for weight in graph.weights], path)
    data = data_path(original)
    return [path, data] if data.is_file() else [path]


def is_written(graph: GraphBuilder, path: Path) -> bool:
    """Return whether the file at `path` has a graph's nodes and tensors; contents of weights aside.

    A file of an earlier release may have others.
    """
    found = onnx.load(path, load_external_data=False).graph
    tensors = {(tensor.name, tensor.data_type, *tensor.dims) for tensor in found.initializer}
    wanted = {(one.name, one.data_type, *one.dims) for one in graph.constants}
    wanted |= {(one.name, DTYPES[one.dtype], *one.shape) for one in graph.weights}
    return tensors == wanted and (
        (list(found.node), list(found.input), list(found.output))
        == (graph.nodes, graph.inputs, graph.outputs)
    )


def write_model(graph: GraphBuilder, tensors: list[TensorProto], path: Path) -> None:
    """Write the `.onnx` file."""
    with atomic_open(path) as stream:
        stream.write(model_bytes(graph, tensors))


def model_bytes(graph: GraphBuilder, tensors: list[TensorProto]) -> bytes:
    """Return the content of an `.onnx` file."""
    proto = helper.make_graph(
        graph.nodes, graph.name, graph.inputs, graph.outputs, [*graph.constants, *tensors]
    )
    opsets = [helper.make_opsetid("", graph.opset)]
    if _uses_contrib(graph.nodes):
        opsets.append(helper.make_opsetid(CONTRIB, 1))
    model = helper.make_model(
        proto, opset_imports=opsets, ir_version=IR_VERSION, producer_name="mms-export"
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _uses_contrib(nodes: Iterable[NodeProto]) -> bool:
    """Whether nodes, or those of their branches, are operators of ONNX Runtime's own."""
    return any(
        node.domain == CONTRIB or any(_uses_contrib(a.g.node) for a in node.attribute)
        for node in nodes
    )


def write_weights(weights: list[Weight], path: Path, advance: Advance) -> list[TensorProto]:
    """Write weights to a data file one at a time, and return the tensors that refer to them."""
    tensors = []
    with atomic_open(path) as stream:
        offset = 0
        for weight in weights:
            alignment = ALIGNMENT if weight.nbytes >= ALIGNMENT else SMALL_ALIGNMENT
            padding = -offset % alignment
            stream.write(bytes(padding))
            offset += padding
            stream.write(checked(weight).reshape(-1).view(np.uint8).data)
            tensors.append(external(weight, path.name, offset))
            offset += weight.nbytes
            advance(weight.nbytes)
    return tensors


def external(weight: Weight, location: str, offset: int) -> TensorProto:
    """Return a tensor that refers to a weight in a data file."""
    tensor = onnx.TensorProto(
        name=weight.name,
        data_type=DTYPES[weight.dtype],
        dims=weight.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", location), ("offset", offset), ("length", weight.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def checked(weight: Weight) -> Array:
    """Return a weight's content, all of it finite.

    Raises:
        MmsError: a value is not finite in the weight's dtype.
    """
    content = weight.content()
    if weight.dtype not in ("int8", "int64") and not np.isfinite(content).all():
        raise MmsError(
            f"weight {weight.name} has values that are not finite in {weight.dtype}: "
            "the checkpoint is damaged, or needs another precision"
        )
    return content
