"""Graphs of the exporter on torch, for machines without ONNX Runtime.

A graph is a JSON document of its nodes and a file of its weights, written by
`torch_runtime.conversion`. It has the operators of the frontend, the encoder and the step graph.
Products, norms and activations of halves are computed in float32, as ONNX Runtime does on a CPU.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    16: torch.bfloat16,
}
"""Types by the number that ONNX has for them."""
Attributes = Mapping[str, Any]


class TorchGraph:
    """Nodes and weights of a graph, on the CPU."""

    def __init__(self, path: Path) -> None:
        """Load the document at `path` and the weights beside it."""
        document = json.loads(path.read_text(encoding="utf-8"))
        self.inputs: list[dict[str, Any]] = document["inputs"]
        """Name, ONNX's number of the type, and shape with -1 for what is dynamic."""
        self.outputs: list[dict[str, Any]] = document["outputs"]
        self._nodes: list[dict[str, Any]] = document["nodes"]
        self._weights = load_file(path.with_suffix(".safetensors"))

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs."""
        values = {"": None, **self._weights, **inputs}
        for node in self._nodes:
            given = [values[name] for name in node["inputs"]]
            made = OPERATORS[node["operator"]](given, node["attributes"])
            results = made if isinstance(made, tuple) else (made,)
            values |= zip(node["outputs"], results, strict=True)
        return {one["name"]: values[one["name"]].contiguous() for one in self.outputs}


def _in_float32(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def computed(given: Sequence[Tensor], attributes: Attributes) -> Tensor:
        whole = [one if one is None else one.float() for one in given]
        return compute(whole, attributes).to(given[0].dtype)

    return computed


def _divide(given: Sequence[Tensor], _: Attributes) -> Tensor:
    one, other = given
    return one / other if one.is_floating_point() else torch.div(one, other, rounding_mode="trunc")


def _gather(given: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, indices = given
    axis = attributes.get("axis", 0) % data.ndim
    found = data.index_select(axis, indices.flatten())
    return found.reshape(data.shape[:axis] + indices.shape + data.shape[axis + 1 :])


def _split(given: Sequence[Tensor], attributes: Attributes) -> tuple[Tensor, ...]:
    data, axis = given[0], attributes.get("axis", 0)
    if len(given) > 1:
        return torch.split(data, given[1].tolist(), axis)
    return torch.chunk(data, attributes["num_outputs"], axis)


def _shape(given: Sequence[Tensor], attributes: Attributes) -> Tensor:
    shape = torch.tensor(given[0].shape, dtype=torch.int64)
    return shape[attributes.get("start", 0) : attributes.get("end")]


def _squeeze(given: Sequence[Tensor], _: Attributes) -> Tensor:
    return given[0].squeeze(tuple(given[1].tolist()))


def _unsqueeze(given: Sequence[Tensor], _: Attributes) -> Tensor:
    data, axes = given
    count = data.ndim + len(axes)
    for axis in sorted(axis % count for axis in axes.tolist()):
        data = data.unsqueeze(axis)
    return data


def _reshape(given: Sequence[Tensor], _: Attributes) -> Tensor:
    data, wanted = given[0], given[1].tolist()
    return data.reshape([data.shape[i] if size == 0 else size for i, size in enumerate(wanted)])


def _slice(given: Sequence[Tensor], _: Attributes) -> Tensor:
    data = given[0]
    parts = [slice(None)] * data.ndim
    for start, end, axis, *step in zip(*(one.tolist() for one in given[1:]), strict=True):
        parts[axis] = slice(start, end, *step)
    return data[tuple(parts)]


def _layer_norm(given: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, scale, *bias = given
    epsilon = attributes.get("epsilon", 1e-5)
    return functional.layer_norm(data, scale.shape, scale, bias[0] if bias else None, epsilon)


def _convolve(given: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, weight, *bias = given
    padded = functional.pad(data, attributes.get("pads", [0, 0]))
    stride, groups = attributes.get("strides", [1]), attributes.get("group", 1)
    return functional.conv1d(padded, weight, bias[0] if bias else None, stride, groups=groups)


OPERATORS: dict[str, Callable[[Sequence[Any], Attributes], Any]] = {
    "Add": lambda given, _: given[0] + given[1],
    "And": lambda given, _: given[0] & given[1],
    "Cast": lambda given, attributes: given[0].to(DTYPES[attributes["to"]]),
    "Concat": lambda given, attributes: torch.cat(given, attributes["axis"]),
    "Conv": _in_float32(_convolve),
    "Div": _divide,
    "Gather": _gather,
    "Gelu": _in_float32(lambda given, _: functional.gelu(given[0])),
    "GreaterOrEqual": lambda given, _: given[0] >= given[1],
    "Identity": lambda given, _: given[0],
    "LayerNormalization": _in_float32(_layer_norm),
    "Less": lambda given, _: given[0] < given[1],
    "MatMul": _in_float32(lambda given, _: given[0] @ given[1]),
    "Mul": lambda given, _: given[0] * given[1],
    "Range": lambda given, _: torch.arange(*(one.item() for one in given)),
    "Relu": lambda given, _: functional.relu(given[0]),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _in_float32(lambda given, attributes: given[0].softmax(attributes.get("axis", -1))),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": lambda given, _: given[0] - given[1],
    "Transpose": lambda given, attributes: given[0].permute(attributes["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda given, _: torch.where(*given),
}
"""Operators by ONNX's names."""
