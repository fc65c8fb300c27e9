"""Bounds of the machine: the fastest matrix products found, and reading of memory."""

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_bench.errors import Skipped
from mms_bench.peers.base import Peer, Ready, Setup

SIZE = 2048
"""Rows, inner size and columns of the products."""
OPERATIONS = 2 * SIZE**3
BYTES = 1 << 28
"""Memory that is read, larger than the caches of a processor."""
WORK = {"fp32": OPERATIONS, "bf16": OPERATIONS, "int8": OPERATIONS, "memory": BYTES}
"""Operations of a product in each precision; bytes of reading."""


class Machine(Peer):
    """Products of ONNX Runtime and of torch, of which the faster counts, and a sum over memory."""

    packages = ("onnx", "onnxruntime", "torch")
    imports = ("onnxruntime", "torch")

    def load(self, setup: Setup) -> None:
        """Set the number of threads."""
        import torch

        self._threads = setup.threads
        torch.set_num_threads(setup.threads)

    def ready(self, work: str) -> Ready:
        """Prepare a product in a precision, or the reading of `memory`."""
        import torch

        if work == "memory":
            values = torch.ones(BYTES // 4)
            return Ready(values.sum)
        if work == "int8":
            return Ready(self._graph("MatMulInteger", np.uint8, np.int8))
        if work == "fp32":
            one, other = torch.ones(SIZE, SIZE), torch.ones(SIZE, SIZE)
            product = self._graph("MatMul", np.float32, np.float32)
            return Ready(min((product, lambda: one @ other), key=_seconds))
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001
            raise Skipped("this processor has no bfloat16 instructions")
        halves = torch.ones(SIZE, SIZE, dtype=torch.bfloat16)
        return Ready(lambda: halves @ halves)

    def _graph(self, kind: str, left: type, right: type) -> Callable[[], Any]:
        """Return a product of ONNX Runtime, with the second factor in the graph."""
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        outputs = TensorProto.INT32 if kind == "MatMulInteger" else TensorProto.FLOAT
        inputs = helper.np_dtype_to_tensor_dtype(np.dtype(left))
        graph = helper.make_graph(
            [helper.make_node(kind, ["x", "w"], ["y"])],
            "product",
            [helper.make_tensor_value_info("x", inputs, [SIZE, SIZE])],
            [helper.make_tensor_value_info("y", outputs, [SIZE, SIZE])],
            [numpy_helper.from_array(np.ones((SIZE, SIZE), right), "w")],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
        ).SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        rows: npt.NDArray[Any] = np.ones((SIZE, SIZE), left)
        return lambda: session.run(None, {"x": rows})


def _seconds(call: Callable[[], Any]) -> float:
    return min(timeit.repeat(call, number=1, repeat=3))
