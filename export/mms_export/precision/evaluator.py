"""Runs an ONNX graph node by node, and rounds every result to the type the graph gives it.

ONNX Runtime does not show that on a CPU: it computes float16 nodes in float32 and leaves out the
casts between neighbours. ONNX's own reference evaluator keeps every tensor and multiplies float16
without a BLAS, which the full size forbids.
"""

from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from mms_export.graphs.builder import Array
from mms_export.precision.arithmetic import Arithmetic, narrow_product, rounded_norm
from mms_export.precision.operators import operator

TYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT64: torch.int64,
}
COMPUTED = (torch.float32, torch.float16, torch.bfloat16)
"""Types of floats that are computed with; the others are only stored."""
_NOT_FLOATS = ("And", "GreaterOrEqual", "Less", "Shape")
"""Operators whose results are no floats, whatever they take."""


class Observer(Protocol):
    """Sees every float a node computes."""

    def see(self, node: NodeProto, index: int, exact: Tensor, result: Tensor) -> None:
        """Take note of output `index` of a node.

        Args:
            node: The node.
            index: Which of its outputs.
            exact: As computed, float32.
            result: The same, rounded to the type that the graph gives it.
        """
        ...


class Evaluator:
    """One graph in one arithmetic. Weights are read when a node needs them and not kept."""

    def __init__(
        self, path: Path, arithmetic: Arithmetic, gains: Mapping[str, float] | None = None
    ) -> None:
        """Read a graph.

        Args:
            path: The `.onnx`; its data file lies beside it.
            arithmetic: What it is run in.
            gains: Factors by which named tensors (weights, results of nodes) are multiplied.
        """
        self.graph = onnx.load(path, load_external_data=False).graph
        self._folder = str(path.parent)
        self._arithmetic = arithmetic
        self._gains = dict(gains or {})
        self._weights = {tensor.name: tensor for tensor in self.graph.initializer}

    @property
    def weight_bytes(self) -> int:
        """Size of the weights in the types that they are computed in."""
        kind = self._arithmetic.everywhere
        total = 0
        for tensor in self.graph.initializer:
            narrowed = kind and tensor.data_type == TensorProto.FLOAT
            size = kind.itemsize if kind and narrowed else _itemsize(tensor)
            total += prod(tensor.dims) * size
        return total

    def run(self, feeds: Mapping[str, Array], observer: Observer | None = None) -> Array:
        """Return the graph's first output, float32.

        Args:
            feeds: The inputs by name, in the types the graph declares.
            observer: Told every float that a node computes.
        """
        values = {name: self._enter(_tensor(array)) for name, array in feeds.items()}
        uses = Counter(name for node in self.graph.node for name in node.input)
        output: str = self.graph.output[0].name
        uses[output] += 1
        with torch.inference_mode():
            for node in self.graph.node:
                inputs = [self._input(name, values) for name in node.input]
                results = self._compute(node, inputs, observer)
                values.update(zip(node.output, results, strict=True))
                for name in node.input:
                    uses[name] -= 1
                    if not uses[name]:
                        values.pop(name, None)
        return values[output].float().numpy()

    def _enter(self, value: Tensor) -> Tensor:
        """Bring what enters the graph to the type it has there."""
        kind = self._arithmetic.everywhere
        return value.to(kind) if kind and value.dtype == torch.float32 else value

    def _input(self, name: str, values: Mapping[str, Tensor]) -> Tensor | None:
        if name in values:
            return values[name]
        return self._weight(name) if name else None

    def _weight(self, name: str) -> Tensor:
        value = _tensor(numpy_helper.to_array(self._weights[name], self._folder))
        if name in self._gains:
            value = (value.float() * self._gains[name]).to(value.dtype)
        kind = self._arithmetic.everywhere
        if kind and value.dtype == torch.float32:
            # Converters do so too: the mask's lowest float32 would become -inf.
            limits = torch.finfo(kind)
            value = value.clamp(limits.min, limits.max)
        return self._enter(value)

    def _compute(
        self, node: NodeProto, inputs: list[Tensor | None], observer: Observer | None
    ) -> list[Tensor]:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        kind = self._result_type(node, attributes, inputs)
        if kind is None:
            return operator(node.op_type)(attributes, inputs)
        exact = self._exact(node, attributes, [_widened(value) for value in inputs], kind)
        results = []
        for index, (name, value) in enumerate(zip(node.output, exact, strict=True)):
            scaled = value * self._gains[name] if name in self._gains else value
            results.append(scaled.to(kind))
            if observer:
                observer.see(node, index, scaled, results[-1])
        return results

    def _result_type(
        self, node: NodeProto, attributes: Mapping[str, Any], inputs: list[Tensor | None]
    ) -> torch.dtype | None:
        """Return the type of a node's results where they are floats."""
        if node.op_type == "Cast":
            kind = TYPES[attributes["to"]]
            return (self._arithmetic.everywhere or kind) if kind == torch.float32 else kind
        if node.op_type in _NOT_FLOATS:
            return None
        kinds = {value.dtype for value in inputs if value is not None and value.dtype in COMPUTED}
        if len(kinds) > 1:
            raise ValueError(f"{node.name} mixes {', '.join(sorted(map(str, kinds)))}")
        return next(iter(kinds), None)

    def _exact(
        self,
        node: NodeProto,
        attributes: Mapping[str, Any],
        inputs: list[Any],
        kind: torch.dtype,
    ) -> list[Tensor]:
        """Compute in float32, but for what the arithmetic does in its own way."""
        if node.op_type == "LayerNormalization" and self._arithmetic.unfused_norm:
            value, scale, bias = (*inputs, None)[:3]
            return [rounded_norm(value, scale, bias, attributes["epsilon"], kind)]
        narrow = self._arithmetic.narrow_sums and kind == torch.float16
        if node.op_type == "MatMul" and narrow:
            return [narrow_product(*inputs)]
        return operator(node.op_type)(attributes, inputs)


def _itemsize(tensor: TensorProto) -> int:
    return helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _widened(value: Tensor | None) -> Tensor | None:
    return value.float() if value is not None and value.dtype in COMPUTED else value


def _tensor(array: Array) -> Tensor:
    """Return a tensor of an array's own type, which for some torch does not take from NumPy."""
    special = {"bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn}
    array = np.require(array, requirements=["C", "W"])
    if array.dtype.name not in special:
        return torch.from_numpy(array)
    plain = np.int16 if array.itemsize == 2 else np.uint8
    return torch.from_numpy(array.view(plain)).view(special[array.dtype.name])
