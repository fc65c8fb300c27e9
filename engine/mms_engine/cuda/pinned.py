"""Ring of pinned staging buffers for uploads."""

import contextlib
import queue
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.memory import PinnedArray
from mms_engine.cuda.streams import CudaEvent, CudaStream


@dataclass(slots=True, eq=False)
class _Buffer:
    sent: CudaEvent
    """Recorded after the copies from the buffer."""
    memory: PinnedArray | None = None

    def drop(self) -> None:
        """Free the memory, from which no copy is pending."""
        if self.memory is not None:
            self.memory.free()
            self.memory = None


class PinnedRing:
    """Staging buffers: the host fills one while the device copies from another.

    Made, used and freed inside `CudaDevice.active`, from any thread.
    """

    def __init__(self, device: CudaDevice, count: int) -> None:
        self._device = device
        self._buffers = [_Buffer(CudaEvent(device)) for _ in range(count)]
        self._free: queue.SimpleQueue[_Buffer] = queue.SimpleQueue()
        for buffer in self._buffers:
            self._free.put(buffer)

    @contextlib.contextmanager
    def staging(self, size: int, stream: CudaStream) -> "Iterator[npt.NDArray[np.uint8]]":
        """Wait for a buffer and yield `size` writable bytes of it.

        They stay as they are until the copies that the block enqueues on `stream` are done.
        """
        buffer = self._free.get()
        try:
            buffer.sent.wait()
            if buffer.memory is None or buffer.memory.array.size < size:
                buffer.drop()
                buffer.memory = PinnedArray.empty(self._device, (size,), np.uint8)
            try:
                yield buffer.memory.array[:size]
            finally:  # copies enqueued before one that failed still run
                stream.record(buffer.sent)
        finally:
            self._free.put(buffer)

    def free(self) -> None:
        """Free all buffers once the copies from them are done."""
        for buffer in self._buffers:
            buffer.sent.wait()
            buffer.drop()
            buffer.sent.free()
        self._buffers.clear()
