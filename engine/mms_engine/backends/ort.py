"""ONNX Runtime, on a CPU or a CUDA device."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mms_engine.backends.session import Array, Constant, GraphFile, Session, SessionOptions
from mms_engine.bundle.manifest import Tensor
from mms_engine.errors import BackendError
from mms_engine.system import usable_cores

logger = logging.getLogger(__name__)

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
# Of ONNX Runtime's defaults for CUDA, those that would change the text: float32 products with ten
# bits of mantissa, residual sums normalised less exactly, and a convolution algorithm that is the
# fastest of a race, whose winner is not always the same, run anew for every shape. The rest is off.
_CUDA_OPTIONS = {
    "device_id": "0",
    "use_tf32": "0",
    "enable_skip_layer_norm_strict_mode": "1",
    "cudnn_conv_algo_search": "HEURISTIC",
}
# Numbers of onnx.TensorProto.DataType; only bfloat16 cannot be told from NumPy's own dtype.
_BFLOAT16 = 16
# ONNX Runtime has no callback for its messages in Python: it writes them to stderr itself. Errors
# come back as exceptions too, so by default it is silent, and speaks when this logger is opened.
_SEVERITY = {logging.DEBUG: 2, logging.INFO: 3}
_FATAL = 4


class OrtSession:
    """A graph in ONNX Runtime."""

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
            file: Its graph.
            device: Where it runs.
            session: The graph, loaded.
            uploads: Whether constants are kept on the device: ONNX Runtime itself has its memory.
        """
        self.inputs: tuple[Tensor, ...] = file.graph.inputs
        self.outputs: tuple[Tensor, ...] = file.graph.outputs
        self.device = device
        self._path = file.path
        self._uploads = uploads
        self._session: onnxruntime.InferenceSession | None = session
        self._on_device: dict[str, tuple[int, Any]] = {}

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
        return {output.name: value for output, value in zip(self.outputs, values, strict=True)}

    def _place(self, name: str, value: Array | Constant) -> Any:  # noqa: ANN401
        """Return the value as ONNX Runtime takes it: over the same memory, or on the device."""
        if not isinstance(value, Constant):
            return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value))
        if not self._uploads:
            return _wrap(value)
        version, placed = self._on_device.get(name, (-1, None))
        if version != value.version:
            placed = _upload(value, self.device)
            self._on_device[name] = (value.version, placed)
        return placed

    def _failure(self, feeds: Mapping[str, Array | Constant], error: Exception) -> BackendError:
        shapes = ", ".join(f"{name} {_shape(value)}" for name, value in feeds.items())
        logger.debug("%s failed on %s", self._path, shapes, exc_info=error)
        return BackendError(f"{self._path} failed on {self.device} with {shapes}: {error}")

    def close(self) -> None:
        """Free the graph and what it keeps on the device."""
        self._session = None
        self._on_device.clear()


def open_cpu(file: GraphFile, options: SessionOptions) -> Session:
    """Load a graph for the CPU.

    Raises:
        BackendError: ONNX Runtime refuses it.
    """
    session = _create(file.path, _session_options(options), [_CPU])
    return OrtSession(file, "cpu", session)


def open_cuda(file: GraphFile, options: SessionOptions) -> Session:
    """Load a graph for the first CUDA device.

    Raises:
        BackendError: ONNX Runtime refuses it, or cannot use the device.
    """
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    session = _create(file.path, _session_options(options), [(_CUDA, _CUDA_OPTIONS), _CPU])
    if _CUDA not in session.get_providers():
        raise BackendError(
            f"{file.path}: ONNX Runtime could not use CUDA and fell back to the CPU; "
            "run mms doctor, or ask for --device cpu"
        )
    return OrtSession(file, "cuda", session, uploads=True)


def open_file(path: Path) -> Callable[[Mapping[str, Array]], list[Array]]:
    """Load a small ONNX file outside a bundle for one CPU thread; return its run function.

    Raises:
        BackendError: ONNX Runtime refuses it.
    """
    session = _create(path, _session_options(SessionOptions(threads=1)), [_CPU])

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        outputs: list[Array] = session.run(None, dict(feeds))
        return outputs

    return run


def _create(
    path: Path, options: onnxruntime.SessionOptions, providers: list[Any]
) -> onnxruntime.InferenceSession:
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise BackendError(f"ONNX Runtime cannot load {path}: {error}") from error
    session.disable_fallback()
    logger.debug("loaded %s with %s", path, session.get_providers())
    return session


def _session_options(options: SessionOptions) -> onnxruntime.SessionOptions:
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = options.threads or usable_cores()
    made.inter_op_num_threads = 1
    made.log_severity_level = _SEVERITY.get(logger.getEffectiveLevel(), _FATAL)
    # Shapes vary from run to run, so a memory pattern per shape would be kept for nothing: 1.7 GB
    # after twelve lengths up to 36 s (4 layers of 1B), 1.2 GB without. The arena stays: without
    # it every run faults its memory in anew, 1.5 times the CPU time at 10 s, for 0.15 GB less.
    made.enable_mem_pattern = False
    # Idle threads would spin on the cores that the other session needs.
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


def _shape(value: Array | Constant) -> str:
    array = value.array if isinstance(value, Constant) else value
    return f"{array.dtype}{list(array.shape)}"
