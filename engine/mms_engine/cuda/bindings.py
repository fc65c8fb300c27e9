"""The part of pycuda's interface that the engine uses, over cuda-bindings.

Streams, events, memory and modules are destroyed with their objects, in the context in which they
were made. What fails then is logged: the work before it has reported the cause.
"""

import ctypes
import gc
import logging
import math
import sys
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver as cuda

logger = logging.getLogger(__name__)

_Array = npt.NDArray[Any]


class Error(Exception):
    """Error of the driver."""


class MemoryError(Error):  # noqa: A001  (pycuda's name)
    """Error of an allocation that fails."""


class event_flags:  # noqa: N801  (pycuda's name)
    """Flags of events."""

    DISABLE_TIMING = int(cuda.CUevent_flags.CU_EVENT_DISABLE_TIMING)


class device_attribute:  # noqa: N801  (pycuda's name)
    """Attributes of devices."""

    INTEGRATED = cuda.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED


class function_attribute:  # noqa: N801  (pycuda's name)
    """Attributes of kernels."""

    NUM_REGS = cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS
    SHARED_SIZE_BYTES = cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES
    LOCAL_SIZE_BYTES = cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES
    MAX_DYNAMIC_SHARED_SIZE_BYTES = (
        cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    )


def _call(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """Call the driver and return its result.

    Raises:
        Error: it reports an error.
    """
    code, *values = function(*arguments)
    if code != 0:
        raise _error(function, code)
    return values[0] if len(values) == 1 else values


def _error(function: Callable[..., Any], code: Any) -> Error:  # noqa: ANN401
    """Return the error for a code of the driver."""
    _, text = cuda.cuGetErrorString(code)
    meaning = text.decode(errors="replace") if text else code.name
    kind = MemoryError if code == cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY else Error
    return kind(f"{function.__name__} failed: {meaning}")


def init() -> None:
    """Initialise the driver."""
    try:
        _call(cuda.cuInit, 0)
    except RuntimeError as error:  # there is no library
        raise Error(" ".join(str(error).split())) from error


def mem_get_info() -> tuple[int, int]:
    """Return free and total bytes of device memory."""
    free, total = _call(cuda.cuMemGetInfo)
    return free, total


class Context:
    """Primary context of a device, retained for the life of the process."""

    def __init__(self, handle: Any) -> None:  # noqa: ANN401
        self.handle = handle

    def push(self) -> None:
        """Make it current in this thread."""
        _call(cuda.cuCtxPushCurrent, self.handle)

    @staticmethod
    def pop() -> None:
        """Make the one before it current."""
        _call(cuda.cuCtxPopCurrent)

    @staticmethod
    def synchronize() -> None:
        """Wait for all work of the current context."""
        _call(cuda.cuCtxSynchronize)


class Device:
    """GPU."""

    def __init__(self, ordinal: int) -> None:
        self._device = _call(cuda.cuDeviceGet, ordinal)

    def name(self) -> str:
        """Return its name."""
        name: bytes = _call(cuda.cuDeviceGetName, 256, self._device)
        return name.rstrip(b"\0").decode(errors="replace")

    def compute_capability(self) -> tuple[int, int]:
        """Return its compute capability."""
        kinds = cuda.CUdevice_attribute
        major = self.get_attribute(kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
        return major, self.get_attribute(kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)

    def get_attribute(self, attribute: Any) -> int:  # noqa: ANN401
        """Return a number of `device_attribute`."""
        return int(_call(cuda.cuDeviceGetAttribute, attribute, self._device))

    def retain_primary_context(self) -> Context:
        """Return the context that CUDA's runtime uses as well."""
        return Context(_call(cuda.cuDevicePrimaryCtxRetain, self._device))


class _Owned:
    """Object of the driver, destroyed with this one or by `free`."""

    def __init__(self, handle: Any, destroy: Callable[..., Any]) -> None:  # noqa: ANN401
        self.handle = handle
        self._destroy = destroy
        self._context = _call(cuda.cuCtxGetCurrent)

    def __int__(self) -> int:
        return int(self.handle)

    def free(self) -> None:
        """Destroy it; may be called twice."""
        handle, self.handle = getattr(self, "handle", None), None
        if handle is None:
            return
        try:
            _call(cuda.cuCtxPushCurrent, self._context)  # any thread may collect it
            try:
                _call(self._destroy, handle)
            finally:
                _call(cuda.cuCtxPopCurrent)
        except Error as error:
            logger.warning("a resource of the GPU was not freed: %s", error)

    def __del__(self) -> None:
        if not sys.is_finalizing():  # the process's end frees everything
            self.free()


class Event(_Owned):
    """Event."""

    def __init__(self, flags: int = 0) -> None:
        super().__init__(_call(cuda.cuEventCreate, flags), cuda.cuEventDestroy)

    def record(self, stream: "Stream") -> Self:
        """Record it after the work of a stream."""
        _call(cuda.cuEventRecord, self.handle, stream.handle)
        return self

    def synchronize(self) -> Self:
        """Wait for the work before it."""
        _call(cuda.cuEventSynchronize, self.handle)
        return self

    def query(self) -> bool:
        """Return whether the work before it is done."""
        (code,) = cuda.cuEventQuery(self.handle)
        if code not in (0, cuda.CUresult.CUDA_ERROR_NOT_READY):
            raise _error(cuda.cuEventQuery, code)
        return bool(code == 0)


class Stream(_Owned):
    """Stream."""

    def __init__(self, flags: int = 0) -> None:
        super().__init__(_call(cuda.cuStreamCreate, flags), cuda.cuStreamDestroy)

    def synchronize(self) -> None:
        """Wait for its work."""
        _call(cuda.cuStreamSynchronize, self.handle)

    def wait_for_event(self, event: Event) -> None:
        """Make later work wait for an event."""
        _call(cuda.cuStreamWaitEvent, self.handle, event.handle, 0)


def mem_alloc(size: int) -> _Owned:
    """Allocate device memory; collects garbage and tries again if there is none."""
    try:
        address = _call(cuda.cuMemAlloc, size)
    except MemoryError:
        gc.collect()
        address = _call(cuda.cuMemAlloc, size)
    return _Owned(address, cuda.cuMemFree)


class _Pinned(_Owned):
    """Page-locked memory, from which numpy makes an array."""

    def __init__(self, size: int) -> None:
        super().__init__(_call(cuda.cuMemHostAlloc, size, 0), cuda.cuMemFreeHost)
        self.__array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (int(self.handle), False),
            "version": 3,
        }


def pagelocked_empty(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> _Array:
    """Return an array in page-locked memory; its `base` frees it."""
    memory = _Pinned(max(1, math.prod(shape) * dtype.itemsize))
    interface = memory.__array_interface__ | {"shape": shape, "typestr": dtype.str}
    memory.__array_interface__ = interface
    return np.asarray(memory)


def memcpy_htod_async(dest: int, src: _Array, stream: Stream) -> None:
    """Enqueue a copy to the device."""
    _call(cuda.cuMemcpyHtoDAsync, dest, src.ctypes.data, src.nbytes, stream.handle)


def memcpy_dtoh_async(dest: _Array, src: int, stream: Stream) -> None:
    """Enqueue a copy from the device."""
    _call(cuda.cuMemcpyDtoHAsync, dest.ctypes.data, src, dest.nbytes, stream.handle)


def memcpy_dtod_async(dest: int, src: int, size: int, stream: Stream) -> None:
    """Enqueue a copy within the device."""
    _call(cuda.cuMemcpyDtoDAsync, dest, src, size, stream.handle)


def memset_d8_async(dest: int, data: int, size: int, stream: Stream) -> None:
    """Enqueue the filling of memory with one byte."""
    _call(cuda.cuMemsetD8Async, dest, data, size, stream.handle)


class Memcpy2D:
    """Copy of lines within the device, or from it."""

    def __init__(self) -> None:
        self._copy = cuda.CUDA_MEMCPY2D()
        kind = cuda.CUmemorytype.CU_MEMORYTYPE_DEVICE
        self._copy.srcMemoryType = self._copy.dstMemoryType = kind
        self.src_pitch = self.dst_pitch = self.width_in_bytes = self.height = 0

    def set_src_device(self, address: int) -> None:
        """Set the address of the first line to read."""
        self._copy.srcDevice = address

    def set_dst_device(self, address: int) -> None:
        """Set the address of the first line to write."""
        self._copy.dstDevice = address

    def set_dst_host(self, array: _Array) -> None:
        """Set the array to write."""
        self._copy.dstMemoryType = cuda.CUmemorytype.CU_MEMORYTYPE_HOST
        self._copy.dstHost = array.ctypes.data

    def __call__(self, stream: Stream) -> None:
        """Enqueue the copy."""
        self._copy.srcPitch, self._copy.dstPitch = self.src_pitch, self.dst_pitch
        self._copy.WidthInBytes, self._copy.Height = self.width_in_bytes, self.height
        _call(cuda.cuMemcpy2DAsync, self._copy, stream.handle)


class Function:
    """Kernel of a module."""

    def __init__(self, module: "Module", name: str) -> None:
        self._module = module  # which must outlive it
        self._function = _call(cuda.cuModuleGetFunction, module.handle, name.encode())

    def get_attribute(self, attribute: Any) -> int:  # noqa: ANN401
        """Return a number of `function_attribute`."""
        return int(_call(cuda.cuFuncGetAttribute, attribute, self._function))

    def set_attribute(self, attribute: Any, value: int) -> None:  # noqa: ANN401
        """Set a number of `function_attribute`."""
        _call(cuda.cuFuncSetAttribute, self._function, attribute, value)

    def __call__(
        self,
        *arguments: _Array,
        grid: tuple[int, ...],
        block: tuple[int, int, int],
        shared: int,
        stream: Stream,
    ) -> None:
        """Enqueue it with the bytes of its arguments."""
        pointers = (ctypes.c_void_p * len(arguments))(*(a.ctypes.data for a in arguments))
        blocks = (*grid, 1, 1)[:3]
        _call(
            cuda.cuLaunchKernel,
            self._function,
            *blocks,
            *block,
            shared,
            stream.handle,
            ctypes.addressof(pointers),
            0,
        )


class Module(_Owned):
    """Loaded fatbin."""

    def __init__(self, image: bytes) -> None:
        super().__init__(_call(cuda.cuModuleLoadData, image), cuda.cuModuleUnload)

    def get_function(self, name: str) -> Function:
        """Return a kernel."""
        return Function(self, name)


def module_from_buffer(image: bytes) -> Module:
    """Load a fatbin."""
    return Module(image)
