"""CUDA streams, and events that order them."""

from typing import Any

import numpy.typing as npt

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.memory import DeviceArray

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: not ordered by the legacy default stream

HostArray = npt.NDArray[Any]


class CudaEvent:
    """CUDA event. Recording it again does not affect work that already waits for it."""

    def __init__(self, device: CudaDevice) -> None:
        self.raw: Any = device.driver.Event(device.driver.event_flags.DISABLE_TIMING)

    def wait(self) -> None:
        """Block this thread until the work before it is done."""
        self.raw.synchronize()

    def free(self) -> None:
        """Free the event; work that already waits for it still does."""
        self.raw = None


class CudaStream:
    """CUDA stream, not ordered with the default stream.

    Made, used and freed inside `CudaDevice.active`. Copies from and to pinned arrays are
    asynchronous: the array must not change until they are done.
    """

    def __init__(self, device: CudaDevice) -> None:
        self.device = device
        self.raw: Any = device.driver.Stream(_NON_BLOCKING)

    @property
    def handle(self) -> int:
        """Handle (`CUstream`) for TensorRT and the driver."""
        return int(self.raw.handle)

    def upload(self, target: DeviceArray, source: HostArray) -> None:
        """Copy host values to the device."""
        _same_size(target.nbytes, source.nbytes)
        if source.nbytes:
            self.device.driver.memcpy_htod_async(target.address, source, self.raw)

    def download(self, target: HostArray, source: DeviceArray) -> None:
        """Copy device values to the host."""
        _same_size(target.nbytes, source.nbytes)
        if source.nbytes:
            self.device.driver.memcpy_dtoh_async(target, source.address, self.raw)

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Copy values within the device."""
        _same_size(target.nbytes, source.nbytes)
        if source.nbytes:
            self.device.driver.memcpy_dtod_async(
                target.address, source.address, source.nbytes, self.raw
            )

    def copy_columns(
        self, target: DeviceArray, to: int, source: DeviceArray, start: int, count: int
    ) -> None:
        """Copy columns `[start, start + count)` of each row to those from `to` on.

        Args:
            target: Shape `[R, N]`.
            to: First column of the target.
            source: Shape `[R, M]`, of the same dtype.
            start: First column of the source.
            count: Number of columns; may be 0.
        """
        (rows, wide), (others, broad) = target.shape, source.shape
        if (rows, target.dtype) != (others, source.dtype):
            raise ValueError(f"columns of {source} do not go into {target}")
        if not (0 <= to <= wide - count and 0 <= start <= broad - count):
            raise ValueError(f"{count} columns at {start} of {broad} do not go to {to} of {wide}")
        if not (rows and count):
            return
        size = target.dtype.itemsize
        copy = self.device.driver.Memcpy2D()
        copy.set_src_device(source.address + start * size)
        copy.set_dst_device(target.address + to * size)
        copy.src_pitch, copy.dst_pitch = broad * size, wide * size
        copy.width_in_bytes, copy.height = count * size, rows
        copy(self.raw)

    def download_columns(self, target: HostArray, source: DeviceArray) -> None:
        """Copy the first columns of each row to the host.

        Args:
            target: Shape `[R, N]`, C-contiguous.
            source: Shape `[R, M]` of the same dtype, M at least N.
        """
        (rows, count), (others, broad) = target.shape, source.shape
        if (rows, target.dtype) != (others, source.dtype) or count > broad:
            raise ValueError(f"{count} columns of {source} do not go into {target.dtype}[{rows}]")
        if not (rows and count):
            return
        size = target.dtype.itemsize
        copy = self.device.driver.Memcpy2D()
        copy.set_src_device(source.address)
        copy.set_dst_host(target)
        copy.src_pitch, copy.dst_pitch = broad * size, count * size
        copy.width_in_bytes, copy.height = count * size, rows
        copy(self.raw)

    def clear(self, target: DeviceArray) -> None:
        """Set every byte to 0."""
        if target.nbytes:
            self.device.driver.memset_d8_async(target.address, 0, target.nbytes, self.raw)

    def record(self, event: CudaEvent) -> None:
        """Record an event after the work enqueued so far."""
        event.raw.record(self.raw)

    def wait(self, event: CudaEvent) -> None:
        """Make work enqueued from now on wait for an event."""
        self.raw.wait_for_event(event.raw)

    def synchronize(self) -> None:
        """Block this thread until all work is done.

        Raises:
            Driver.Error: some of it failed; `CudaDevice.active` translates it.
        """
        self.raw.synchronize()

    def free(self) -> None:
        """Free the stream once its work is done. May be called twice."""
        if self.raw is not None:
            self.raw.synchronize()
            self.raw = None


def _same_size(target: int, source: int) -> None:
    if target != source:
        raise ValueError(f"a copy of {source} bytes into an array of {target} bytes")
