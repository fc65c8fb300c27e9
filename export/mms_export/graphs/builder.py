"""ONNX graph builder; weights are read from the checkpoint only when the graph is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = 10  # the newest that onnxruntime 1.22 reads
CONTRIB = "com.microsoft"

_BRANCHES = ("then_branch", "else_branch")

Array = npt.NDArray[Any]
DTYPES: dict[str, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of a name in `DTYPES`."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


@dataclass(frozen=True, slots=True)
class Weight:
    """Initializer whose content is read when the graph is written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        """Size of the content in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * numpy_dtype(self.dtype).itemsize

    def content(self) -> Array:
        """Return the tensor in its declared dtype and shape."""
        array = np.ascontiguousarray(self.read()).astype(numpy_dtype(self.dtype), copy=False)
        if array.shape != self.shape:
            raise ValueError(f"weight {self.name} is {array.shape}, declared {self.shape}")
        return array


@dataclass(slots=True)
class GraphBuilder:
    """ONNX graph under construction."""

    name: str
    opset: int
    prefix: str = ""
    """Beginning of the names of values, for a branch of another graph."""
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    _constant_names: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare an input and return its name."""
        self.inputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], list(shape)))
        return name

    def output(self, name: str, value: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare `value` as the output `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self.outputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], list(shape)))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output and return the output's name."""
        return self.ops(kind, *inputs, count=1, domain=domain, **attributes)[0]

    def ops(
        self,
        kind: str,
        *inputs: str,
        count: int,
        domain: str = "",
        **attributes: Any,  # noqa: ANN401
    ) -> list[str]:
        """Add a node and return the names of its outputs."""
        name = f"{self.prefix}{kind}_{len(self.nodes)}"
        outputs = [name] if count == 1 else [f"{name}:{index}" for index in range(count)]
        node = helper.make_node(kind, list(inputs), outputs, name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return outputs

    def choose(self, condition: str, then: "GraphBuilder", other: "GraphBuilder") -> str:
        """Return the output of one of two branches, which may use this graph's values."""
        branches = (
            helper.make_graph(b.nodes, b.name, b.inputs, b.outputs, b.constants)
            for b in (then, other)
        )
        return self.op("If", condition, **dict(zip(_BRANCHES, branches, strict=True)))

    def constant(self, value: npt.ArrayLike, dtype: str) -> str:
        """Add a small tensor and return its name; equal tensors are stored once."""
        array = np.asarray(value, dtype=numpy_dtype(dtype))
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constant_names:
            name = f"{self.prefix}constant_{len(self._constant_names)}"
            self._constant_names[key] = name
            self.constants.append(numpy_helper.from_array(array, name))
        return self._constant_names[key]

    def ints(self, *values: int) -> str:
        """Add an int64 vector and return its name."""
        return self.constant(values, "int64")

    def weight(self, name: str, dtype: str, shape: Sequence[int], read: Callable[[], Array]) -> str:
        """Add a weight, read later by `read`, and return its name."""
        self.weights.append(Weight(name, dtype, tuple(shape), read))
        return name

    def cast(self, value: str, dtype: str) -> str:
        """Convert a tensor to another dtype."""
        return self.op("Cast", value, to=DTYPES[dtype])
