"""TensorRT and TensorRT for RTX: plans that run on arrays of the device, or of the host."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mms_engine.backends.session import NUMPY_DTYPE, Array, Constant
from mms_engine.bundle.manifest import Plan, Tensor
from mms_engine.cuda.context import open_device
from mms_engine.cuda.memory import Buffer, DeviceArray, Shape
from mms_engine.cuda.streams import CudaStream
from mms_engine.errors import BackendError
from mms_engine.tensorrt.buckets import Buckets
from mms_engine.tensorrt.execution import Execution
from mms_engine.tensorrt.toolkit import LoadedPlan, open_toolkit


@dataclass(frozen=True, slots=True, eq=False)
class PlanFile:
    """A plan and where it lies."""

    plan: Plan
    path: Path


class TensorRtSession:
    """A plan in TensorRT, on one stream. It may be used from several threads."""

    def __init__(self, file: PlanFile, loaded: LoadedPlan, stream: CudaStream | None) -> None:
        """Callers take `open_plan`."""
        self.inputs: tuple[Tensor, ...] = file.plan.inputs
        self.outputs: tuple[Tensor, ...] = file.plan.outputs
        self.device = "cuda"
        length = str(file.plan.inputs[0].shape[1])
        self.buckets = Buckets(file.plan.inputs, file.plan.profiles, length=length)
        """What shapes it takes."""
        self._path = file.path
        self._loaded: LoadedPlan | None = loaded
        self._gpu = loaded.device
        self._owns_stream = stream is None
        self._stream = stream or CudaStream(loaded.device)
        self._lock = threading.RLock()
        self._executions: dict[int, Execution] = {}
        self._buffers: dict[str, Buffer] = {}
        self._versions: dict[str, tuple[int, DeviceArray]] = {}

    def __repr__(self) -> str:
        return f"TensorRtSession({self._path.name})"

    @property
    def stream(self) -> CudaStream:
        """Where runs happen."""
        return self._stream

    def enqueue(
        self, profile: int, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> None:
        """Give the stream a run on arrays of the device; call it inside `CudaDevice.active`.

        Args:
            profile: Index of the profile that takes the shapes, as `buckets` says.
            inputs: An array of the stated dtype for every input.
            outputs: For every output, an array that is written.

        Raises:
            BackendError: TensorRT refuses the shapes, or the session is closed.
        """
        arrays = {**inputs, **outputs}
        for tensor in (*self.inputs, *self.outputs):
            given = arrays.get(tensor.name)
            if given is None or given.dtype != NUMPY_DTYPE.get(tensor.dtype, tensor.dtype):
                found = "nothing" if given is None else str(given.dtype)
                raise BackendError(f"{self._path}: {tensor.name} is {tensor.dtype}, got {found}")
        with self._lock:
            self._execution(profile).enqueue(inputs, outputs)

    def run(self, feeds: Mapping[str, Array | Constant]) -> dict[str, Array]:
        """Run the plan once on arrays of the host; see `Session.run`."""
        doing = f"running {self._path.name}"
        with self._lock, self._failures(feeds), self._gpu.active(doing):
            self._require_open()
            inputs = {name: self._upload(name, value) for name, value in feeds.items()}
            shapes = {name: array.shape for name, array in inputs.items()}
            profile = self.buckets.fit(_sizes(self.inputs, shapes)).profile
            names = tuple(tensor.name for tensor in self.outputs)
            made = self._execution(profile).shapes(shapes, names)
            outputs = {
                tensor.name: self._buffer(tensor.name).take(
                    made[tensor.name], NUMPY_DTYPE.get(tensor.dtype, tensor.dtype)
                )
                for tensor in self.outputs
            }
            self.enqueue(profile, inputs, outputs)
            results = {name: np.empty(array.shape, array.dtype) for name, array in outputs.items()}
            for name, array in outputs.items():
                self._stream.download(results[name], array)
            self._stream.synchronize()
        return results

    def close(self) -> None:
        """Free the plan and its memory."""
        if self._loaded is None:
            return
        with self._gpu.active(f"closing {self._path.name}"), self._lock:
            self._stream.synchronize()
            for execution in self._executions.values():
                execution.free()
            for buffer in self._buffers.values():
                buffer.free()
            self._executions.clear()
            self._buffers.clear()
            self._versions.clear()
            self._loaded = None
            if self._owns_stream:
                self._stream.free()

    def _require_open(self) -> LoadedPlan:
        if self._loaded is None:
            raise BackendError(f"{self._path}: the session is closed")
        return self._loaded

    def _execution(self, profile: int) -> Execution:
        loaded = self._require_open()
        if profile not in self._executions:
            self._executions[profile] = Execution(loaded, profile, self._stream)
        return self._executions[profile]

    def _buffer(self, name: str) -> Buffer:
        return self._buffers.setdefault(name, Buffer(self._gpu))

    def _upload(self, name: str, value: Array | Constant) -> DeviceArray:
        if isinstance(value, Constant):
            version, placed = self._versions.get(name, (None, None))
            if placed is not None and version == value.version:
                return placed
        host = np.ascontiguousarray(value.array if isinstance(value, Constant) else value)
        placed = self._buffer(name).take(host.shape, host.dtype)
        self._stream.upload(placed, host)
        self._stream.synchronize()  # the host's array need not stay
        if isinstance(value, Constant):
            self._versions[name] = (value.version, placed)
        return placed

    @contextmanager
    def _failures(self, feeds: Mapping[str, Array | Constant]) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            arrays = {
                name: value.array if isinstance(value, Constant) else value
                for name, value in feeds.items()
            }
            shapes = ", ".join(f"{name} {a.dtype}{list(a.shape)}" for name, a in arrays.items())
            raise BackendError(f"{self._path} failed with {shapes}: {error}") from error


def open_plan(file: PlanFile, stream: CudaStream | None = None) -> TensorRtSession:
    """Load a plan on the first CUDA device.

    Args:
        file: The plan.
        stream: Where it runs; its own where there is none.

    Raises:
        BackendError: pycuda or the runtime is not there, or the plan is for another.
        DeviceMemoryError: it does not fit.
    """
    device = open_device()
    with device.active(f"loading {file.path.name}"):
        toolkit = open_toolkit(file.plan.runtime)
        return TensorRtSession(file, toolkit.load(file.path, file.plan, device), stream)


def _sizes(inputs: tuple[Tensor, ...], shapes: Mapping[str, Shape]) -> dict[str, int]:
    """Return the free dimensions by name.

    Raises:
        ValueError: an input is missing, or of another rank.
    """
    for tensor in inputs:
        if len(shapes.get(tensor.name, ())) != len(tensor.shape):
            raise ValueError(f"{tensor.name} must be {list(tensor.shape)}")
    return {
        name: size
        for tensor in inputs
        for name, size in zip(tensor.shape, shapes[tensor.name], strict=True)
        if isinstance(name, str)
    }
