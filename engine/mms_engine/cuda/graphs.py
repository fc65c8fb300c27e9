"""CUDA graphs through the driver library: pycuda does not wrap them."""

import ctypes
from collections.abc import Callable
from typing import Self

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.driver import library
from mms_engine.cuda.streams import CudaStream

# Other threads may allocate while this one captures; this one must not.
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


class CudaGraph:
    """Work captured from a CUDA stream: the same kernels on the same addresses."""

    def __init__(self, device: CudaDevice, executable: ctypes.c_void_p) -> None:
        self._device = device
        self._executable: ctypes.c_void_p | None = executable

    @classmethod
    def capture(cls, stream: CudaStream, enqueue: Callable[[], None]) -> Self:
        """Capture the work that `enqueue` puts on `stream`, without running it.

        Raises:
            Driver.Error: the driver reports an error; `CudaDevice.active` translates it.
        """
        device = stream.device
        graph = _captured(stream, enqueue)
        executable = ctypes.c_void_p()
        try:
            _call(device, "cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, 0)
        finally:
            _call(device, "cuGraphDestroy", graph)
        return cls(device, executable)

    def launch(self, stream: CudaStream) -> None:
        """Enqueue the captured work on a CUDA stream."""
        _call(self._device, "cuGraphLaunch", self._executable, stream.handle)

    def free(self) -> None:
        """Free the graph; it must not be running."""
        if self._executable is not None:
            _call(self._device, "cuGraphExecDestroy", self._executable)
            self._executable = None


def _captured(stream: CudaStream, enqueue: Callable[[], None]) -> ctypes.c_void_p:
    graph = ctypes.c_void_p()
    _call(stream.device, "cuStreamBeginCapture_v2", stream.handle, _THREAD_LOCAL)
    try:
        enqueue()
    except BaseException:  # the stream must leave capture mode
        if library().cuStreamEndCapture(stream.handle, ctypes.byref(graph)) == 0:
            _call(stream.device, "cuGraphDestroy", graph)
        raise
    _call(stream.device, "cuStreamEndCapture", stream.handle, ctypes.byref(graph))
    return graph


def _call(device: CudaDevice, name: str, *arguments: object) -> None:
    status = getattr(library(), name)(*arguments)
    if status == 0:
        return
    text = ctypes.c_char_p()
    library().cuGetErrorString(status, ctypes.byref(text))
    meaning = (text.value or b"unknown error").decode(errors="replace")
    raise device.driver.Error(f"{name} failed: {meaning} ({status})")
