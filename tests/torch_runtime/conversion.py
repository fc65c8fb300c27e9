"""Conversion of ONNX graphs to those of `torch_runtime.graph`."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from torch_runtime.graph import OPERATORS


def convert(source: Path, target: Path) -> Path:
    """Write an ONNX graph as the document `target` and weights beside it; return `target`.

    Raises:
        ValueError: it has other operators.
    """
    graph = onnx.load(source).graph
    nodes = [
        {
            "operator": f"{node.domain}:{node.op_type}" if node.domain else node.op_type,
            "inputs": list(node.input),
            "outputs": list(node.output),
            "attributes": {
                attribute.name: _plain(helper.get_attribute_value(attribute))
                for attribute in node.attribute
            },
        }
        for node in graph.node
    ]
    unknown = {node["operator"] for node in nodes} - OPERATORS.keys()
    if unknown:
        raise ValueError(f"{source} has operators without a counterpart: {sorted(unknown)}")
    document = {
        "inputs": list(map(_tensor, graph.input)),
        "outputs": list(map(_tensor, graph.output)),
        "nodes": nodes,
    }
    target.write_text(json.dumps(document), encoding="utf-8")
    weights = {one.name: np.array(numpy_helper.to_array(one)) for one in graph.initializer}
    save_file(weights, target.with_suffix(".safetensors"))
    return target


def _plain(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


def _tensor(value: onnx.ValueInfoProto) -> dict[str, object]:
    kind = value.type.tensor_type
    sizes = [one.dim_value if one.HasField("dim_value") else -1 for one in kind.shape.dim]
    return {"name": value.name, "type": kind.elem_type, "shape": sizes}
