"""Workspace of a launch: reusable memory on the device and in pinned host memory."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.memory import Buffer, DeviceArray, PinnedArray
from mms_engine.cuda.streams import CudaStream


class Workspace:
    """Reusable memory of one launch at a time, by name: device memory and pinned host memory."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._buffers: dict[str, Buffer] = {}
        self._pinned: dict[str, PinnedArray] = {}

    def device(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> DeviceArray:
        """Return an uninitialised device array."""
        if name not in self._buffers:
            self._buffers[name] = Buffer(self._device)
        return self._buffers[name].take(shape, dtype)

    def host(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an uninitialised pinned array; no copy of the previous one may be pending."""
        kind = np.dtype(dtype)
        size = max(1, math.prod(shape) * kind.itemsize)
        held = self._pinned.get(name)
        if held is None or held.array.nbytes < size:
            if held is not None:
                held.free()
            held = self._pinned[name] = PinnedArray.empty(self._device, (size,), np.uint8)
        return held.array[: math.prod(shape) * kind.itemsize].view(kind).reshape(shape)

    def upload(self, stream: CudaStream, name: str, values: npt.NDArray[Any]) -> DeviceArray:
        """Enqueue a copy of small values to the device; see `host` and `device`."""
        there = self.device(name, values.shape, values.dtype)
        here = self.host(name, values.shape, values.dtype)
        here[...] = values
        stream.upload(there, here)
        return there

    def free(self) -> None:
        """Free the memory; all work of the device is done."""
        for buffer in self._buffers.values():
            buffer.free()
        for pinned in self._pinned.values():
            pinned.free()
        self._buffers, self._pinned = {}, {}
