"""GPU of this process, and the meaning of its errors."""

import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import Protocol, TypeVar

from mms_engine.cuda.driver import cuda_driver, wait_without_spinning
from mms_engine.cuda.interface import Driver
from mms_engine.cuda.packages import load_driver
from mms_engine.errors import BackendError, DeviceLostError, DeviceMemoryError
from mms_engine.system import available_memory

logger = logging.getLogger(__name__)


class Resource(Protocol):
    """Object that owns memory or handles of the driver."""

    def free(self) -> None:
        """Free them."""
        ...


ResourceT = TypeVar("ResourceT", bound=Resource)


class Owned(contextlib.ExitStack):
    """Resources that are freed, last first, unless the block that makes them succeeds."""

    def __call__(self, resource: ResourceT) -> ResourceT:
        """Add a resource and return it."""
        self.callback(resource.free)
        return resource


class CudaDevice:
    """GPU with its primary context, which TensorRT and ONNX Runtime use as well.

    May be used from several threads; each works inside `active`.
    """

    def __init__(self, driver: Driver, ordinal: int) -> None:
        """Retain the context; see `open_device`."""
        self.driver = driver
        self._device = driver.Device(ordinal)
        self.integrated = bool(self._device.get_attribute(driver.device_attribute.INTEGRATED))
        """Whether it shares the memory of the system, as a Jetson's does."""
        if self.integrated:
            wait_without_spinning(ordinal)  # its cores are few
        self._context = self._device.retain_primary_context()
        self.ordinal = ordinal
        self.name: str = self._device.name()
        major, minor = self._device.compute_capability()
        self.compute_capability = f"{major}.{minor}"

    def __repr__(self) -> str:
        return f"CudaDevice({self.ordinal}, {self.name}, sm {self.compute_capability})"

    @contextlib.contextmanager
    def active(self, doing: str) -> Iterator[None]:
        """Make the context current in this thread, for calls of `mms_engine.cuda` and TensorRT.

        Resources of the device are made, used and freed inside. Blocks may be nested.

        Args:
            doing: Operation for error messages, as in `copying the adapter of eng`.

        Raises:
            DeviceMemoryError, DeviceLostError, BackendError: in place of errors of the driver.
        """
        try:
            self._context.push()
        except self.driver.Error as error:
            raise self._lost(doing, error) from error
        try:
            yield
        except self.driver.MemoryError as error:
            raise self._out_of_memory(doing) from error
        except self.driver.Error as error:
            raise self._failure(doing, error) from error
        finally:
            self._context.pop()

    @contextlib.contextmanager
    def creating(self, doing: str) -> Iterator[Owned]:
        """Enter `active`; if the block fails, free the resources it added to the result."""
        with self.active(doing), Owned() as owned:
            yield owned
            owned.pop_all()

    def free_bytes(self) -> int:
        """Return the free memory of the device; call it inside `active`."""
        return self._memory()[0]

    def _memory(self) -> tuple[int, int]:
        """Return free and total bytes; of shared memory, the page cache counts as free."""
        free, total = self.driver.mem_get_info()
        known = available_memory() if self.integrated else None
        return (free if known is None else min(known, total)), total

    def _out_of_memory(self, doing: str) -> DeviceMemoryError:
        free, total = self._memory()
        return DeviceMemoryError(
            f"{self.name} is out of memory while {doing}: {free >> 20} of {total >> 20} MiB are "
            "free; reduce adapter_cache_bytes, voice_cache_bytes or batch_frames, or close other "
            "programs"
        )

    def _failure(self, doing: str, error: Exception) -> BackendError:
        try:
            self._context.synchronize()
        except self.driver.Error:  # a sticky error: the context does not survive it
            return self._lost(doing, error)
        return BackendError(f"{self.name} failed while {doing}: {error}")

    def _lost(self, doing: str, error: Exception) -> DeviceLostError:
        return DeviceLostError(
            f"{self.name} was lost while {doing}: {error}; this process cannot use it any more: "
            "restart it, and see dmesg or nvidia-smi for the cause"
        )


@functools.cache
def open_device(ordinal: int = 0) -> CudaDevice:
    """Return a GPU, opened once per process.

    Raises:
        BackendError: there is no driver, no package that calls it, or no such device.
    """
    if reason := cuda_driver().reason:
        raise BackendError(reason)
    package, driver = load_driver()
    try:
        driver.init()
        device = CudaDevice(driver, ordinal)
    except driver.Error as error:
        raise BackendError(f"GPU {ordinal} cannot be used: {error}; run mms doctor") from error
    logger.debug("opened %r by %s", device, package)
    return device
