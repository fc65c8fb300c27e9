"""Interface of the driver: the part of pycuda's that the engine uses."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Allocation(Protocol):
    """Device memory; `int` returns its address."""

    def __int__(self) -> int: ...

    def free(self) -> None:
        """Free the memory."""
        ...


class Driver(Protocol):
    """Driver, as `pycuda.driver` and `mms_engine.cuda.bindings` have it.

    A call needs a current context unless it is about devices. `stream` is a `Stream`, an address
    that of device memory, and an array C-contiguous host memory.
    """

    Error: type[Exception]
    """Base class of the driver's errors."""
    MemoryError: type[Exception]
    """Error of an allocation that fails."""
    Context: Any
    """`Context.synchronize()` waits for all work of the current context."""
    Device: Any
    """`Device(ordinal)` has `name`, `compute_capability`, `get_attribute` and
    `retain_primary_context`, of which the result has `push` and `pop`."""
    Stream: Any
    """`Stream(flags)` has `handle`, `synchronize` and `wait_for_event`."""
    Event: Any
    """`Event(flags)` has `record`, `synchronize` and `query`."""
    Memcpy2D: Any
    """Copy of lines within the device, or from it."""
    device_attribute: Any
    event_flags: Any
    function_attribute: Any

    def init(self) -> None:
        """Initialise the driver."""
        ...

    def mem_get_info(self) -> tuple[int, int]:
        """Return free and total bytes of device memory."""
        ...

    def mem_alloc(self, size: int, /) -> Allocation:
        """Allocate device memory; collects garbage and tries again if there is none."""
        ...

    def pagelocked_empty(self, shape: Any, dtype: "np.dtype[Any]", /) -> npt.NDArray[Any]:  # noqa: ANN401
        """Return an array in page-locked memory; its `base` frees it."""
        ...

    def memcpy_htod_async(
        self,
        dest: int,
        src: npt.NDArray[Any],
        stream: Any,  # noqa: ANN401
        /,
    ) -> None:
        """Enqueue a copy to the device."""
        ...

    def memcpy_dtoh_async(
        self,
        dest: npt.NDArray[Any],
        src: int,
        stream: Any,  # noqa: ANN401
        /,
    ) -> None:
        """Enqueue a copy from the device."""
        ...

    def memcpy_dtod_async(self, dest: int, src: int, size: int, stream: Any, /) -> None:  # noqa: ANN401
        """Enqueue a copy within the device."""
        ...

    def memset_d8_async(self, dest: int, data: int, size: int, stream: Any, /) -> None:  # noqa: ANN401
        """Enqueue the filling of memory with one byte."""
        ...

    def module_from_buffer(self, image: bytes, /) -> Any:  # noqa: ANN401
        """Load a fatbin; the result has `get_function`.

        A function is called with the bytes of its arguments as arrays, `grid`, `block`, `shared`
        and `stream`, and has `set_attribute`.
        """
        ...
