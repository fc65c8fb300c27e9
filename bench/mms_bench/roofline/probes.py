"""Measures what this processor can do at most: products, element-wise operations, memory.

What counts is the processor time of all threads, divided by their number: the time the work takes
with the processor to itself. Another program on the machine lengthens the clock's time many times
over, and hits long calls more than short ones; processor time it touches only through the caches.
"""

import gc
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_CONTRIB = "com.microsoft"
# 10 s of speech through one layer of the true size: large enough for the full rate.
_ROWS, _INPUTS, _OUTPUTS = 500, 1280, 5120
_HEADS = 16
_SQUARE = 200
_COPIED = 1 << 27
"""Bytes: far more than a cache holds."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Probe:
    """Something to time, as a runner of a race."""

    name: str
    amount: float
    """What one call gets through: operations, elements or bytes."""
    threads: int
    call: Callable[[], object]
    ran: float = 0.0
    walls: list[float] = field(default_factory=list)
    """Seconds by the clock of every call, in the order taken, those of the warm-up first."""

    def repeat(self, seconds: float, most: int) -> tuple[float, ...]:
        """Call for about `seconds` by the clock, at least once.

        Returns:
            Seconds of processor time a thread, of each call.
        """
        times: list[float] = []
        end = time.perf_counter() + seconds
        gc.collect()
        while not times or (time.perf_counter() < end and len(times) < most):
            wall, spent = time.perf_counter(), time.process_time()
            self.call()
            times.append((time.process_time() - spent) / self.threads)
            self.walls.append(time.perf_counter() - wall)
        return tuple(times)


def probes(threads: int) -> list[Probe]:
    """Return what to time for the rates of a processor.

    Names are those of `Hardware.products`, of `Hardware.elements`, and `bandwidth`.
    """
    made = _Maker(threads, np.random.default_rng(0))
    return [
        made.product(),
        made.quantized_product(),
        made.elementwise("add", "Add", operands=2),
        made.elementwise("copy", "Transpose", perm=[0, 2, 1, 3]),
        made.elementwise("gelu", "Gelu"),
        made.layer_norm(),
        made.softmax(),
        _copy(threads),
    ]


@dataclass(frozen=True, slots=True)
class _Maker:
    threads: int
    random: np.random.Generator

    def _floats(self, *shape: int) -> Array:
        return self.random.standard_normal(shape, dtype=np.float32)

    def product(self) -> Probe:
        weights = {"weight": self._floats(_INPUTS, _OUTPUTS)}
        call = self._ready("MatMul", {"value": self._floats(_ROWS, _INPUTS)}, weights)
        return self._probe("fp32", 2.0 * _ROWS * _INPUTS * _OUTPUTS, call)

    def quantized_product(self) -> Probe:
        value = self.random.integers(0, 256, (_ROWS, _INPUTS), np.uint8)
        weight = self.random.integers(-63, 64, (_INPUTS, _OUTPUTS), np.int8)
        constants = {
            "weight": weight,
            "scale": np.ones((), np.float32),
            "scales": np.ones(_OUTPUTS, np.float32),
            "zero": np.array(128, np.uint8),
        }
        call = self._ready("MatMulIntegerToFloat", {"value": value}, constants, domain=_CONTRIB)
        return self._probe("int8", 2.0 * _ROWS * _INPUTS * _OUTPUTS, call)

    def elementwise(self, name: str, kind: str, *, operands: int = 1, **attributes: Any) -> Probe:  # noqa: ANN401
        shape = (1, _ROWS, _HEADS, _INPUTS // _HEADS)
        values = {f"value{index}": self._floats(*shape) for index in range(operands)}
        call = self._ready(kind, values, {}, **attributes)
        return self._probe(name, float(np.prod(shape)), call)

    def layer_norm(self) -> Probe:
        constants = {"weight": self._floats(_INPUTS), "bias": self._floats(_INPUTS)}
        values = {"value": self._floats(1, _ROWS, _INPUTS)}
        call = self._ready("LayerNormalization", values, constants, axis=-1)
        return self._probe("layer_norm", float(_ROWS * _INPUTS), call)

    def softmax(self) -> Probe:
        values = {"value": self._floats(1, _HEADS, _SQUARE, _SQUARE)}
        call = self._ready("Softmax", values, {}, axis=-1)
        return self._probe("softmax", float(_HEADS * _SQUARE**2), call)

    def _probe(self, name: str, amount: float, call: Callable[[], object]) -> Probe:
        return Probe(name=name, amount=amount, threads=self.threads, call=call)

    def _ready(
        self,
        kind: str,
        values: Mapping[str, Array],
        constants: Mapping[str, Array],
        *,
        domain: str = "",
        **attributes: Any,  # noqa: ANN401
    ) -> Callable[[], object]:
        """Return a call of one operation in ONNX Runtime, its tensors bound beforehand."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = _model(kind, values, constants, domain, attributes)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for name, value in values.items():
            binding.bind_cpu_input(name, value)
        binding.bind_output("result")
        session.run_with_iobinding(binding)
        # From now on it writes to the same memory: no call pays for new pages.
        binding.bind_ortvalue_output("result", binding.get_outputs()[0])
        return lambda: session.run_with_iobinding(binding)


def _model(
    kind: str,
    values: Mapping[str, Array],
    constants: Mapping[str, Array],
    domain: str,
    attributes: Mapping[str, Any],
) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    names = [*values, *constants]
    node = helper.make_node(kind, names, ["result"], domain=domain, **attributes)
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in values.items()
    ]
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([node], kind, inputs, [result], initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(_CONTRIB, 1)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=10
    ).SerializeToString()
    return content


def _copy(threads: int) -> Probe:
    source = np.ones(_COPIED, np.uint8)
    target = np.empty_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    pool = ThreadPoolExecutor(threads)

    def copy() -> None:
        list(pool.map(lambda part: np.copyto(*part), parts))

    return Probe(name="bandwidth", amount=2.0 * _COPIED, threads=threads, call=copy)
