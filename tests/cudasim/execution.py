"""Runs of an ONNX graph as operations of a simulated stream."""

import ctypes
import gc
import itertools
import json
import weakref
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import onnxruntime

from cudasim.tensors import DataType, GraphTensor, Shapes

_LAUNCH_FAILED = 719
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)


_NAMES = {"float": "FLOAT", "float16": "HALF", "bfloat16": "BF16"}
"""TensorRT's names by ONNX Runtime's, where these differ by more than case."""

_NUMBERS = itertools.count(1)
_ALIVE: "weakref.WeakValueDictionary[int, Execution]" = weakref.WeakValueDictionary()
"""Executions by the number in the operations of the streams."""


class Graph:
    """ONNX graph on the CPU, run on byte arrays."""

    def __init__(self, path: str):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        inputs = {node.name: _tensor(node, True) for node in self.session.get_inputs()}
        outputs = {node.name: _tensor(node, False) for node in self.session.get_outputs()}
        self.tensors: dict[str, GraphTensor] = inputs | outputs
        self._known: dict[tuple, dict[str, tuple[int, ...]]] = {}

    def run(
        self, inputs: Mapping[str, np.ndarray], shapes: Shapes
    ) -> dict[str, onnxruntime.OrtValue]:
        """Run on `inputs`, byte arrays of the given shapes."""
        binding = self.session.io_binding()
        for name, data in inputs.items():
            kind, _ = self.tensors[name].trt_type.value
            binding.bind_input(name, "cpu", 0, kind, shapes[name], data.ctypes.data)
        names = [name for name, tensor in self.tensors.items() if not tensor.is_input]
        for name in names:
            binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(binding)
        return dict(zip(names, binding.get_outputs(), strict=True))

    def output_shapes(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the outputs, found by a run on zeros."""
        key = tuple(shapes.items())
        if key not in self._known:
            zeros = {name: np.zeros(self.size(name, shape), np.uint8) for name, shape in key}
            outputs = self.run(zeros, shapes)
            self._known[key] = {name: tuple(value.shape()) for name, value in outputs.items()}
        return self._known[key]

    def size(self, name: str, shape: tuple[int, ...]) -> int:
        """Return the size of a tensor of `shape` in bytes."""
        return prod(shape) * self.tensors[name].trt_type.value[1]


def captures(stream: int) -> bool:
    """Return whether a stream captures a graph."""
    return bool(ctypes.CDLL("libcuda.so.1").cudasim_captures(ctypes.c_uint64(stream)))


def _tensor(node, is_input):
    name = node.type.removeprefix("tensor(").rstrip(")")
    shape = tuple(axis if isinstance(axis, int) else -1 for axis in node.shape)
    return GraphTensor(is_input, shape, DataType[_NAMES.get(name, name.upper())])


class Execution:
    """Execution of a graph on simulated streams, one run at a time, as by an execution context.

    Each run writes the first byte of `scratch`, a device address, so that two unordered runs race.
    """

    def __init__(self, graph: Graph, scratch: int, gathered: Sequence[str]):
        self.graph = graph
        self.scratch = scratch
        self.gathered = frozenset(gathered)
        self.number = next(_NUMBERS)
        self.changes = 0
        """Changes of the context's shapes; a graph is only good for those it was captured with."""
        _ALIVE[self.number] = self
        self._library = ctypes.CDLL("libcuda.so.1")

    def enqueue(self, stream: int, shapes: Shapes, addresses: Mapping[str, int]) -> int:
        """Enqueue or capture a run with given shapes and addresses; return the driver's code."""
        order = {"execution": self.number, "shapes": dict(shapes), "addresses": dict(addresses)}
        if captures(stream):
            order["changes"] = self.changes
        data = json.dumps(order).encode()
        ranges = self._ranges(shapes, addresses)
        return self._library.cudasim_enqueue(
            ctypes.c_uint64(stream),
            b"execute_async_v3",
            _CALL,
            data,
            ctypes.c_size_t(len(data)),
            (ctypes.c_uint64 * len(ranges))(*ranges),
            ctypes.c_size_t(len(ranges) // 3),
        )

    def _ranges(self, shapes: Shapes, addresses: Mapping[str, int]) -> list[int]:
        """Return address, size and write flag of each range that a run touches."""
        outputs = self.graph.output_shapes(shapes)
        found = [self.scratch, 1, 1]
        for name, shape in (dict(shapes) | outputs).items():
            if name not in self.gathered:
                found += [addresses[name], self.graph.size(name, shape), name in outputs]
        return found

    def run(self, shapes: Shapes, addresses: Mapping[str, int]) -> int:
        """Run at once; return a code of the driver."""
        inputs = {}
        for name, shape in shapes.items():
            data = np.empty(self.graph.size(name, shape), np.uint8)
            pointer = ctypes.c_void_p(data.ctypes.data)
            address = ctypes.c_ulonglong(addresses[name])
            code = self._library.cudasim_read(pointer, address, ctypes.c_size_t(data.nbytes))
            if code:
                return code
            inputs[name] = data
        for name, value in self.graph.run(inputs, shapes).items():
            address = ctypes.c_ulonglong(addresses[name])
            size = ctypes.c_size_t(self.graph.size(name, tuple(value.shape())))
            pointer = ctypes.c_void_p(value.data_ptr())
            code = self._library.cudasim_write(address, pointer, size)
            if code:
                return code
        return 0


@_CALLBACK
def _CALL(data, size):  # noqa: N802  (a constant for C)
    # A garbage collection here could free device memory, which waits for this very run.
    collecting = gc.isenabled()
    gc.disable()
    library = ctypes.CDLL("libcuda.so.1")
    try:
        order = json.loads(ctypes.string_at(data, size))
        execution = _ALIVE.get(order["execution"])
        if execution is None:
            library.cudasim_explain(b"the execution context is gone before its run")
            return _LAUNCH_FAILED
        if order.get("changes", execution.changes) != execution.changes:
            library.cudasim_explain(
                b"the shapes of its execution context changed since the capture"
            )
            return _LAUNCH_FAILED
        shapes = {name: tuple(shape) for name, shape in order["shapes"].items()}
        return execution.run(shapes, order["addresses"])
    except Exception as error:  # noqa: BLE001  (nothing may pass through C)
        library.cudasim_explain(repr(error).encode())
        return _LAUNCH_FAILED
    finally:
        if collecting:
            gc.enable()
