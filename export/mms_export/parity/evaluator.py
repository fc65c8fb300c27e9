"""ONNX graph evaluator: every node's result is rounded to the type the graph gives it.

ONNX Runtime does not show this rounding on a CPU: it computes float16 nodes in float32 and drops
casts between neighbours. ONNX's reference evaluator keeps every tensor and multiplies float16
without a BLAS, which rules it out at full size.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from mms_export.graphs.builder import Array
from mms_export.parity.operators import OPERATORS

TYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT64: torch.int64,
}
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_NOT_FLOATS = ("And", "Equal", "GreaterOrEqual", "Less", "Shape")
"""Operators whose results are no floats, whatever their inputs."""


class Evaluator:
    """One graph. Nodes compute in float32; weights are read when a node needs them, and not kept.

    Matrix products thus accumulate in float32, as tensor cores can.
    """

    def __init__(self, path: Path) -> None:
        """Read the `.onnx` at `path`; its external data stays on disk."""
        self.graph = onnx.load(path, load_external_data=False).graph
        self._folder = str(path.parent)
        self._weights = {tensor.name: tensor for tensor in self.graph.initializer}

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Return the graph's outputs, float32, for inputs in the types the graph declares."""
        declared = {value.name for value in self.graph.input}
        values = {name: _tensor(array) for name, array in feeds.items() if name in declared}
        uses = Counter(name for node in self.graph.node for name in node.input)
        outputs = [output.name for output in self.graph.output]
        uses.update(outputs)
        with torch.inference_mode():
            for node in self.graph.node:
                inputs = [self._input(name, values) for name in node.input]
                values.update(zip(node.output, _compute(node, inputs), strict=True))
                for name in node.input:
                    uses[name] -= 1
                    if not uses[name]:
                        values.pop(name, None)
        return [values[name].float().numpy() for name in outputs]

    def _input(self, name: str, values: Mapping[str, Tensor]) -> Tensor | None:
        if name in values or not name:
            return values.get(name)
        return _tensor(numpy_helper.to_array(self._weights[name], self._folder))


def _compute(node: NodeProto, inputs: list[Tensor | None]) -> list[Tensor]:
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    dtype = _result_type(node, attributes, inputs)
    if dtype is None:
        return OPERATORS[node.op_type](attributes, inputs)
    results = OPERATORS[node.op_type](attributes, [_widened(value) for value in inputs])
    return [value.to(dtype) for value in results]


def _result_type(
    node: NodeProto, attributes: Mapping[str, Any], inputs: list[Tensor | None]
) -> torch.dtype | None:
    """Return the dtype of a node's results if they are floats."""
    if node.op_type == "Cast":
        return TYPES[attributes["to"]]
    if node.op_type in _NOT_FLOATS:
        return None
    dtypes = {value.dtype for value in inputs if value is not None and value.dtype in FLOATS}
    if len(dtypes) > 1:
        raise ValueError(f"{node.name} mixes {', '.join(sorted(map(str, dtypes)))}")
    return next(iter(dtypes), None)


def _widened(value: Tensor | None) -> Tensor | None:
    return value.float() if value is not None and value.dtype in FLOATS else value


def _tensor(array: Array) -> Tensor:
    """Return a tensor of an array's dtype; torch does not accept NumPy's bfloat16 directly."""
    array = np.require(array, requirements=["C", "W"])
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
