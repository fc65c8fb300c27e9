"""Runs of graphs on torch, on the memory of any CUDA device: what `cudasim.trt` executes with.

A run waits for the stream, copies the inputs to the host, computes there and copies the outputs
back. It proves nothing about TensorRT, and everything about the memory, copies and streams around
it, on a real driver or on the double.
"""

import ctypes
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import torch

from cudasim.tensors import DataType, GraphTensor, Shapes
from torch_runtime.graph import DTYPES, TorchGraph

_TYPES = {kind.value[0]: kind for kind in DataType}


class Graph:
    """Graph with the tensors of an engine."""

    def __init__(self, path: str) -> None:
        self._graph = TorchGraph(Path(path))
        self.tensors = {
            one["name"]: GraphTensor(is_input, tuple(one["shape"]), _TYPES[one["type"]])
            for is_input, tensors in ((True, self._graph.inputs), (False, self._graph.outputs))
            for one in tensors
        }
        self._known: dict[object, dict[str, tuple[int, ...]]] = {}

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the outputs."""
        return self._graph.run(inputs)

    def empty(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return a tensor of zeros for an input."""
        return torch.zeros(shape, dtype=DTYPES[self.tensors[name].trt_type.value[0]])

    def output_shapes(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the outputs, found by a run on zeros."""
        key = tuple(shapes.items())
        if key not in self._known:
            outputs = self.run({name: self.empty(name, shape) for name, shape in key})
            self._known[key] = {name: tuple(value.shape) for name, value in outputs.items()}
        return self._known[key]

    def size(self, name: str, shape: tuple[int, ...]) -> int:
        """Return the size of a tensor of `shape` in bytes."""
        return prod(shape) * self.tensors[name].trt_type.value[1]


class Execution:
    """Execution of a graph, one run at a time."""

    def __init__(self, graph: Graph, scratch: int, gathered: Sequence[str]) -> None:
        self.graph = graph
        self.scratch = scratch
        self.changes = 0
        self._driver = ctypes.CDLL("libcuda.so.1")

    def enqueue(self, stream: int, shapes: Shapes, addresses: Mapping[str, int]) -> int:
        """Run after the operations of a stream, before this returns; return the driver's code."""
        driver = self._driver
        code = int(driver.cuStreamSynchronize(ctypes.c_void_p(stream)))
        inputs = {name: self.graph.empty(name, shape) for name, shape in shapes.items()}
        for name, value in inputs.items():
            code = code or driver.cuMemcpyDtoH_v2(*_pointers(value, addresses[name]))
        if code:
            return code
        for name, value in self.graph.run(inputs).items():
            host, device, size = _pointers(value, addresses[name])
            code = code or driver.cuMemcpyHtoD_v2(device, host, size)
        return code or int(driver.cuCtxSynchronize())


def captures(stream: int) -> bool:
    """Return whether a stream captures a graph: TensorRT for RTX is never captured from outside."""
    return False


def _pointers(
    value: torch.Tensor, address: int
) -> tuple[ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t]:
    size = ctypes.c_size_t(value.numel() * value.element_size())
    return ctypes.c_void_p(value.data_ptr()), ctypes.c_uint64(address), size
