"""Sessions of ONNX Runtime on a CPU or a CUDA device."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from mms_engine.backends.session import Array, Constant, GraphFile, Session
from mms_engine.bundle.manifest import Tensor
from mms_engine.cuda.driver import upload
from mms_engine.errors import BackendError
from mms_engine.system import usable_cores

logger = logging.getLogger(__name__)

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
# Defaults of ONNX Runtime that would change the text: TF32 products, less exact layer norms of
# residual sums, and a convolution algorithm chosen by timing, which differs between runs.
_CUDA_OPTIONS = {
    "device_id": "0",
    "use_tf32": "0",
    "enable_skip_layer_norm_strict_mode": "1",
    "cudnn_conv_algo_search": "HEURISTIC",
    # The arena grows by what a run needs, not to twice its size: runs differ in length.
    "arena_extend_strategy": "kSameAsRequested",
}
_BFLOAT16 = 16  # onnx.TensorProto.DataType; other element types follow from NumPy's dtype
# ONNX Runtime writes its messages to stderr and raises errors as well, so it is silent unless this
# logger is enabled.
_SEVERITY = {logging.DEBUG: 2, logging.INFO: 3}
_FATAL = 4
_SAVING = {
    "save_external_prepacked_constant_initializers": "1",
    # Smaller ones, such as sizes that shape inference reads, must stay inside the model.
    "optimized_model_external_initializers_min_size_in_bytes": "4096",
}
_WEIGHTS_NAME = "optimized_model_external_initializers_file_name"
_DATA_FOLDER = "session.model_external_initializers_file_folder_path"
"""Session option: folder of the external data of a model in memory."""


@dataclass(slots=True, eq=False)
class _Placed:
    """Constant on the device."""

    value: Any
    """`OrtValue`."""
    shape: tuple[int, ...]
    versions: npt.NDArray[np.int64]
    """Versions of its rows."""


class OrtSession:
    """Graph loaded in ONNX Runtime; see `Session`."""

    def __init__(
        self,
        file: GraphFile,
        device: str,
        session: onnxruntime.InferenceSession,
        *,
        uploads: bool = False,
    ) -> None:
        """Take over a session of ONNX Runtime.

        Args:
            file: Graph of the session.
            device: `cpu` or `cuda`.
            session: Loaded graph.
            uploads: Whether constants are copied to the device once, instead of by every run.
        """
        self.inputs: tuple[Tensor, ...] = file.graph.inputs
        self.outputs: tuple[Tensor, ...] = file.graph.outputs
        self.device = device
        self._path = file.path
        self._uploads = uploads
        self._session: onnxruntime.InferenceSession | None = session
        self._after_run = file.after_run
        self._placed: dict[str, _Placed] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"OrtSession({self._path.name}, {self.device})"

    def run(self, feeds: Mapping[str, Array | Constant]) -> dict[str, Array]:
        """Run the graph once; see `Session.run`."""
        session = self._session
        if session is None:
            raise BackendError(f"{self._path}: the session is closed")
        try:
            binding = session.io_binding()
            for name, value in feeds.items():
                binding.bind_ortvalue_input(name, self._place(name, value))
            for output in self.outputs:
                binding.bind_output(output.name)
            session.run_with_iobinding(binding)
            # DLPack shares the memory the run wrote to; OrtValue.numpy() would copy it.
            values = [np.from_dlpack(value) for value in binding.get_outputs()]
        except Exception as error:
            raise self._failure(feeds, error) from error
        if self._after_run is not None:
            after_run, self._after_run = self._after_run, None
            after_run()
        return {output.name: value for output, value in zip(self.outputs, values, strict=True)}

    def _place(self, name: str, value: Array | Constant) -> Any:  # noqa: ANN401
        """Return an OrtValue: over the same memory, or the copy on the device."""
        if not isinstance(value, Constant):
            return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value))
        if not self._uploads:
            return _wrap(value)
        with self._lock:
            placed = self._placed.get(name)
            if placed is None or placed.shape != value.array.shape:
                placed = _Placed(_upload(value, self.device), value.array.shape, value.versions)
                self._placed[name] = placed
            else:
                _update(placed, value)
            return placed.value

    def _failure(self, feeds: Mapping[str, Array | Constant], error: Exception) -> BackendError:
        shapes = ", ".join(f"{name} {_shape(value)}" for name, value in feeds.items())
        logger.debug("%s failed on %s", self._path, shapes, exc_info=error)
        return BackendError(f"{self._path} failed on {self.device} with {shapes}: {error}")

    def close(self) -> None:
        """Free the graph and its constants on the device."""
        self._session = None
        with self._lock:
            self._placed.clear()


def open_cpu(file: GraphFile, threads: int = 0) -> Session:
    """Load a graph for the CPU; see `registry.open_session`.

    Raises:
        BackendError: ONNX Runtime rejects it.
    """
    options = _session_options(threads)
    if file.is_packed:  # as it was optimised when it was saved
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _create(file.path, options, [_CPU], file.content)
    return OrtSession(file, "cpu", session)


def save_packed(file: GraphFile, model: Path, weights: str) -> None:
    """Write a graph as it is optimised for this processor's CPU, with packed weights.

    Args:
        file: The graph.
        model: `.onnx` to write.
        weights: Name of the file of weights to write beside it.

    Raises:
        BackendError: ONNX Runtime rejects the graph, or cannot write.
    """
    options = _session_options(1)
    options.optimized_model_filepath = str(model)
    for name, value in _SAVING.items():
        options.add_session_config_entry(f"session.{name}", value)
    options.add_session_config_entry(f"session.{_WEIGHTS_NAME}", weights)
    _create(file.path, options, [_CPU])


def open_cuda(file: GraphFile, threads: int = 0) -> Session:
    """Load a graph for the first CUDA device; see `registry.open_session`.

    Raises:
        BackendError: ONNX Runtime rejects it, or cannot use the device.
    """
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    providers = [(_CUDA, _CUDA_OPTIONS), _CPU]
    session = _create(file.path, _session_options(threads), providers, file.content)
    if _CUDA not in session.get_providers():
        raise BackendError(
            f"{file.path}: ONNX Runtime could not use CUDA and fell back to the CPU; "
            "run mms doctor, or ask for --device cpu"
        )
    return OrtSession(file, "cuda", session, uploads=True)


def open_file(path: Path) -> Callable[[Mapping[str, Array]], list[Array]]:
    """Load a small ONNX file outside a bundle for one CPU thread; return its run function.

    Raises:
        BackendError: ONNX Runtime rejects it.
    """
    session = _create(path, _session_options(1), [_CPU])

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        outputs: list[Array] = session.run(None, dict(feeds))
        return outputs

    return run


def _create(
    path: Path,
    options: onnxruntime.SessionOptions,
    providers: list[Any],
    content: bytes | None = None,
) -> onnxruntime.InferenceSession:
    """Load the file at `path`, or a model in memory whose external data lies beside it."""
    if content is not None:
        options.add_session_config_entry(_DATA_FOLDER, str(path.parent.absolute()))
    try:
        model = str(path) if content is None else content
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:
        raise BackendError(f"ONNX Runtime cannot load {path}: {error}") from error
    session.disable_fallback()
    logger.debug("loaded %s with %s", path, session.get_providers())
    return session


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = threads or usable_cores()
    made.inter_op_num_threads = 1
    made.log_severity_level = _SEVERITY.get(logger.getEffectiveLevel(), _FATAL)
    # Shapes vary from run to run, so patterns per shape only take memory: 1.7 GB after twelve
    # lengths up to 36 s (4 layers of 1B), 1.2 GB without. The arena stays: without it each run
    # faults its pages in again, 1.5 times the CPU time at 10 s, for 0.15 GB less.
    made.enable_mem_pattern = False
    # Idle threads would otherwise spin on cores that the other session needs.
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return made


def _wrap(constant: Constant) -> onnxruntime.OrtValue:
    if constant.dtype == "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(constant.array, _BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(constant.array)


def _upload(constant: Constant, device: str) -> onnxruntime.OrtValue:
    if constant.dtype != "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy(constant.array, device, 0)
    placed = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
        constant.array.shape, _BFLOAT16, device, 0
    )
    placed.update_inplace(_wrap(constant))
    return placed


def _update(placed: _Placed, constant: Constant) -> None:
    """Copy the rows that changed; no run reads them yet.

    Rows that are newer on the device belong to a later run of another thread.
    """
    address, size = placed.value.data_ptr(), constant.array[0].nbytes
    for row in map(int, np.flatnonzero(constant.versions > placed.versions)):
        upload(address + row * size, constant.array[row])
    placed.versions = np.maximum(placed.versions, constant.versions)


def _shape(value: Array | Constant) -> str:
    array = value.array if isinstance(value, Constant) else value
    return f"{array.dtype}{list(array.shape)}"
