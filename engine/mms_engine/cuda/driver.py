"""Driver library through ctypes: its devices, a copy to a device, and CUDA graphs."""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from mms_engine.errors import BackendError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NAME_BYTES = 256
_GET = "get it from https://www.nvidia.com/drivers"
_CAPABILITY = (75, 76)
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
_BLOCKING_SYNC = 4
"""CU_CTX_SCHED_BLOCKING_SYNC."""
_POINTER = ctypes.c_void_p
_ARGUMENTS = {
    "cuInit": (ctypes.c_uint,),
    "cuDevicePrimaryCtxSetFlags_v2": (ctypes.c_int, ctypes.c_uint),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(_POINTER), ctypes.c_int),
    "cuCtxPushCurrent_v2": (_POINTER,),
    "cuCtxPopCurrent_v2": (ctypes.POINTER(_POINTER),),
    "cuMemcpyHtoD_v2": (ctypes.c_uint64, _POINTER, ctypes.c_size_t),
    "cuStreamSynchronize": (_POINTER,),
    "cuStreamBeginCapture_v2": (_POINTER, ctypes.c_int),
    "cuStreamEndCapture": (_POINTER, ctypes.POINTER(_POINTER)),
    "cuGraphInstantiateWithFlags": (ctypes.POINTER(_POINTER), _POINTER, ctypes.c_uint64),
    "cuGraphLaunch": (_POINTER, _POINTER),
    "cuGraphExecDestroy": (_POINTER,),
    "cuGraphDestroy": (_POINTER,),
    "cuGetErrorString": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}


@dataclass(frozen=True, slots=True)
class CudaDriver:
    """Driver and GPUs of this machine."""

    version: str
    """CUDA release that the driver supports, in the form `12.8`; empty without a driver."""
    devices: tuple[str, ...]
    """Name of each GPU."""
    reason: str
    """Why no GPU is usable, in one sentence; empty if one is."""
    capabilities: tuple[str, ...] = ()
    """Compute capability of each GPU, in the form `8.6`."""


def cuda_driver() -> CudaDriver:
    """Query the driver's version and devices."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return CudaDriver("", (), f"no NVIDIA driver is installed ({LIBRARY} is not there): {_GET}")
    status = driver.cuInit(0)
    if status != 0:
        reason = f"the NVIDIA driver found no usable GPU (cuInit returned {status})"
        return CudaDriver(_version(driver), (), reason)
    devices = _devices(driver)
    reason = "" if devices else "the NVIDIA driver has no GPU"
    capabilities = tuple(_capability(driver, ordinal) for ordinal in range(len(devices)))
    return CudaDriver(_version(driver), devices, reason, capabilities)


def _version(driver: ctypes.CDLL) -> str:
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return ""
    major, rest = divmod(number.value, 1000)
    return f"{major}.{rest // 10}"


def _devices(driver: ctypes.CDLL) -> tuple[str, ...]:
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    names = []
    for ordinal in range(count.value):
        buffer = ctypes.create_string_buffer(_NAME_BYTES)
        if driver.cuDeviceGetName(buffer, _NAME_BYTES, ordinal) == 0:
            names.append(buffer.value.decode(errors="replace"))
    return tuple(names)


def _capability(driver: ctypes.CDLL, ordinal: int) -> str:
    numbers = []
    for attribute in _CAPABILITY:
        number = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, ordinal)
        numbers.append(str(number.value))
    return ".".join(numbers)


@functools.cache
def library() -> ctypes.CDLL:
    """Return the driver library, with argument types for calls that take pointers.

    Raises:
        OSError: no driver is installed.
    """
    loaded = ctypes.CDLL(LIBRARY)
    for name, arguments in _ARGUMENTS.items():
        getattr(loaded, name).argtypes = arguments
    return loaded


def upload(address: int, values: npt.NDArray[Any], ordinal: int = 0) -> None:
    """Copy a C-contiguous host array to device memory of the primary context, and wait.

    The context is that of the CUDA runtime, so the memory may be ONNX Runtime's.

    Args:
        address: Device address of the first byte.
        values: Host array.
        ordinal: Index of the device.

    Raises:
        BackendError: the driver reports an error.
    """
    with _primary_context(ordinal):
        _call("cuMemcpyHtoD_v2", address, values.ctypes.data, values.nbytes)
        # From pageable memory the call may return before the copy is done.
        _call("cuStreamSynchronize", None)


def wait_without_spinning(ordinal: int) -> None:
    """Let threads that wait for a device sleep; call it before its context is retained.

    Raises:
        BackendError: the driver reports an error.
    """
    _call("cuInit", 0)
    _call("cuDevicePrimaryCtxSetFlags_v2", ordinal, _BLOCKING_SYNC)


@contextlib.contextmanager
def _primary_context(ordinal: int) -> Iterator[None]:
    _call("cuCtxPushCurrent_v2", _retained(ordinal))
    try:
        yield
    finally:
        _call("cuCtxPopCurrent_v2", ctypes.byref(_POINTER()))


@functools.cache
def _retained(ordinal: int) -> ctypes.c_void_p:
    context = _POINTER()
    _call("cuInit", 0)
    _call("cuDevicePrimaryCtxRetain", ctypes.byref(context), ordinal)
    return context


def _call(name: str, *arguments: object) -> None:
    status = getattr(library(), name)(*arguments)
    if status != 0:
        raise BackendError(f"the NVIDIA driver failed: {name} returned {status}")
