"""Sessions of TensorRT and TensorRT for RTX: plans on device arrays, or on host arrays."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mms_engine.backends.session import Array, storage_dtype
from mms_engine.bundle.manifest import Plan, Tensor
from mms_engine.cuda.context import open_device
from mms_engine.cuda.memory import DeviceArray, Shape
from mms_engine.cuda.streams import CudaStream
from mms_engine.cuda.workspace import Workspace
from mms_engine.errors import BackendError
from mms_engine.tensorrt.buckets import Buckets
from mms_engine.tensorrt.execution import Lanes, Scratch
from mms_engine.tensorrt.toolkit import LoadedPlan, open_toolkit


@dataclass(frozen=True, slots=True, eq=False)
class PlanFile:
    """Manifest entry of a plan and the path of its file."""

    plan: Plan
    path: Path


class TensorRtSession:
    """Loaded plan on one CUDA stream. Methods may be called from several threads."""

    def __init__(self, file: PlanFile, loaded: LoadedPlan, scratch: Scratch | None) -> None:
        """Take over a loaded plan; see `open_plan`."""
        self.inputs: tuple[Tensor, ...] = file.plan.inputs
        self.outputs: tuple[Tensor, ...] = file.plan.outputs
        self.device = "cuda"
        self.buckets = Buckets(file.plan.inputs, file.plan.profiles, length=_length(file.plan))
        """Shapes that its profiles cover."""
        self._path = file.path
        self._gpu = loaded.device
        self._owns_scratch = scratch is None
        self._scratch = scratch or Scratch(CudaStream(loaded.device))
        self.stream = self._scratch.stream
        """CUDA stream of the runs."""
        self._lock = threading.RLock()
        self._lanes: Lanes | None = Lanes(loaded, self._scratch)
        self._workspace = Workspace(loaded.device)

    def __repr__(self) -> str:
        return f"TensorRtSession({self._path.name})"

    def enqueue(
        self, profile: int, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> None:
        """Enqueue a run on device arrays; call it inside `CudaDevice.active`.

        Args:
            profile: Index of a profile that covers the shapes; see `buckets`.
            inputs: Array of the stated dtype for every input.
            outputs: Array to write for every output.

        Raises:
            BackendError: TensorRT rejects the shapes, or the session is closed.
        """
        arrays = {**inputs, **outputs}
        for tensor in (*self.inputs, *self.outputs):
            given = arrays.get(tensor.name)
            if given is None or given.dtype != storage_dtype(tensor.dtype):
                found = "nothing" if given is None else str(given.dtype)
                raise BackendError(f"{self._path}: {tensor.name} is {tensor.dtype}, got {found}")
        shapes = {tensor.name: arrays[tensor.name].shape for tensor in self.inputs}
        with self._lock:
            self._require_open().take(profile, shapes).enqueue(arrays)

    def run(self, feeds: Mapping[str, Array | DeviceArray]) -> dict[str, Array]:
        """Run the plan once.

        Args:
            feeds: Array of the stated dtype for every input: in host memory, to be uploaded, or in
                device memory, written by work that is done.

        Returns:
            Every output in host memory.

        Raises:
            BackendError: no profile covers the shapes, or the device failed.
        """
        doing = f"running {self._path.name}"
        with self._lock, self._failures(feeds), self._gpu.active(doing):
            lanes = self._require_open()
            inputs = {name: self._placed(name, value) for name, value in feeds.items()}
            shapes = {name: array.shape for name, array in inputs.items()}
            profile = self.buckets.fit(_sizes(self.inputs, shapes)).profile
            lane = lanes.take(profile, {one.name: shapes[one.name] for one in self.inputs})
            outputs = {
                tensor.name: self._workspace.device(
                    tensor.name, lane.output_shape(tensor.name), storage_dtype(tensor.dtype)
                )
                for tensor in self.outputs
            }
            self.enqueue(profile, inputs, outputs)
            results = {name: np.empty(array.shape, array.dtype) for name, array in outputs.items()}
            for name, array in outputs.items():
                self.stream.download(results[name], array)
            self.stream.synchronize()
        return results

    def close(self) -> None:
        """Free the plan and its memory."""
        if self._lanes is None:
            return
        with self._gpu.active(f"closing {self._path.name}"), self._lock:
            self.stream.synchronize()
            self._lanes.free()
            self._lanes = None
            self._workspace.free()
            if self._owns_scratch:
                self._scratch.free()
                self.stream.free()

    def scratch_bytes(self) -> int:
        """Return the scratch memory of the largest run of all profiles."""
        return max(map(self._require_open().plan.scratch_bytes, range(self.buckets.count)))

    def _require_open(self) -> Lanes:
        if self._lanes is None:
            raise BackendError(f"{self._path}: the session is closed")
        return self._lanes

    def _placed(self, name: str, value: Array | DeviceArray) -> DeviceArray:
        if isinstance(value, DeviceArray):
            return value
        host = np.ascontiguousarray(value)
        placed = self._workspace.device(name, host.shape, host.dtype)
        self.stream.upload(placed, host)
        self.stream.synchronize()  # `host` may be a temporary
        return placed

    @contextmanager
    def _failures(self, feeds: Mapping[str, Array | DeviceArray]) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            given = {name: a for name, a in feeds.items() if not isinstance(a, DeviceArray)}
            shapes = ", ".join(f"{name} {a.dtype}{list(a.shape)}" for name, a in given.items())
            raise BackendError(f"{self._path} failed with {shapes}: {error}") from error


def open_plan(
    file: PlanFile, scratch: Scratch | None = None, *, graphs: bool = True, few_shapes: bool = True
) -> TensorRtSession:
    """Load a plan on the first CUDA device.

    Args:
        file: The plan.
        scratch: Scratch memory and CUDA stream of its runs; `None` for those of its own.
        graphs: Whether runs repeat on the same addresses, so that CUDA graphs are worth it.
        few_shapes: Whether there are so few shapes that TensorRT for RTX may compile kernels for
            each, before its first run.

    Raises:
        BackendError: pycuda or the runtime is missing, or the plan is for another runtime.
        DeviceMemoryError: it does not fit into device memory.
    """
    device = open_device()
    with device.active(f"loading {file.path.name}"):
        toolkit = open_toolkit(file.plan.runtime)
        loaded = toolkit.load(file.path, file.plan, device, graphs=graphs, few_shapes=few_shapes)
        return TensorRtSession(file, loaded, scratch)


def _length(plan: Plan) -> str:
    """Return the dimension that grows with the audio: the last free one of the first input."""
    return [str(size) for size in plan.inputs[0].shape if isinstance(size, str)][-1]


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
