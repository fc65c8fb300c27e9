"""Ring of pinned staging buffers for uploads."""

import contextlib
import queue
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.memory import PinnedArray
from mms_engine.cuda.streams import CudaEvent, CudaStream


class PinnedBuffer:
    """Staging buffer of a ring."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._memory: PinnedArray | None = None
        self._sent = CudaEvent(device)

    def bytes(self, size: int) -> "npt.NDArray[np.uint8]":
        """Return `size` writable bytes, once the previous copies from them are done."""
        self._sent.wait()
        if self._memory is None or self._memory.array.size < size:
            self._drop()
            self._memory = PinnedArray.empty(self._device, (size,), np.uint8)
        view: npt.NDArray[np.uint8] = self._memory.array[:size]
        return view

    def sent(self, stream: CudaStream) -> None:
        """Protect the content until the work enqueued on `stream` so far is done."""
        stream.record(self._sent)

    def free(self) -> None:
        """Free the memory once the copies from it are done."""
        self._sent.wait()
        self._drop()
        self._sent.free()

    def _drop(self) -> None:
        if self._memory is not None:
            self._memory.free()
            self._memory = None


class PinnedRing:
    """Staging buffers: the host fills one while the device copies from another.

    Made, used and freed inside `CudaDevice.active`, from any thread.
    """

    def __init__(self, device: CudaDevice, count: int) -> None:
        self._buffers = [PinnedBuffer(device) for _ in range(count)]
        self._free: queue.SimpleQueue[PinnedBuffer] = queue.SimpleQueue()
        for buffer in self._buffers:
            self._free.put(buffer)

    @contextlib.contextmanager
    def take(self) -> Iterator[PinnedBuffer]:
        """Wait for a buffer and use it exclusively; call `sent` after enqueuing its copies."""
        buffer = self._free.get()
        try:
            yield buffer
        finally:
            self._free.put(buffer)

    def free(self) -> None:
        """Free all buffers."""
        for buffer in self._buffers:
            buffer.free()
        self._buffers.clear()
