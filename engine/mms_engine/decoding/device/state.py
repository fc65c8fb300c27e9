"""Device memory of the decoders: state of streams between chunks, scratch of a launch."""

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.memory import Buffer, DeviceArray, PinnedArray
from mms_engine.cuda.streams import CudaStream
from mms_kernels.cuda.arguments import TokenArrays

TableLayout = Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]
"""Shape and dtype of one stream's part, for each array."""

_FIRST_SLOTS = 16


class StreamTable:
    """State of many streams: a slot each, in arrays that grow.

    Used inside `CudaDevice.active`, but for `release`.
    """

    def __init__(self, device: CudaDevice, stream: CudaStream, layout: TableLayout) -> None:
        self._device = device
        self._stream = stream
        self._layout = layout
        self._arrays: dict[str, DeviceArray] = {}
        self._free: list[int] = []
        self._slots = 0

    @property
    def slots(self) -> int:
        """Streams that have room."""
        return self._slots

    @property
    def used(self) -> int:
        """Streams that hold a slot."""
        return self._slots - len(self._free)

    def __getitem__(self, name: str) -> DeviceArray:
        """Array `[slots, ...]`; its address changes when the table grows."""
        return self._arrays[name]

    def address(self, name: str) -> int:
        """Address of an array."""
        return self._arrays[name].address

    def take(self) -> int:
        """Return a slot of unknown content."""
        if not self._free:
            self._grow(2 * self._slots or _FIRST_SLOTS)
        return self._free.pop()

    def release(self, slot: int) -> None:
        """Release a slot; from any thread."""
        self._free.append(slot)

    def _grow(self, slots: int) -> None:
        grown = {
            name: DeviceArray.empty(self._device, (slots, *shape), dtype)
            for name, (shape, dtype) in self._layout.items()
        }
        for name, array in self._arrays.items():
            self._stream.copy(grown[name].rows(0, self._slots), array)
        self._stream.synchronize()
        self.free()
        self._free.extend(range(slots - 1, self._slots - 1, -1))
        self._arrays, self._slots = grown, slots

    def free(self) -> None:
        """Free the memory."""
        for array in self._arrays.values():
            array.free()
        self._arrays = {}


class Workspace:
    """Scratch memory of one launch at a time, by name: on the device and, pinned, on the host."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._buffers: dict[str, Buffer] = {}
        self._pinned: dict[str, PinnedArray] = {}

    def device(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> DeviceArray:
        """Return an array of unknown content."""
        if name not in self._buffers:
            self._buffers[name] = Buffer(self._device)
        return self._buffers[name].take(shape, dtype)

    def host(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return a pinned array; no copy of the one of that name may be pending."""
        kind = np.dtype(dtype)
        size = max(1, math.prod(shape) * kind.itemsize)
        held = self._pinned.get(name)
        if held is None or held.array.nbytes < size:
            if held is not None:
                held.free()
            held = self._pinned[name] = PinnedArray.empty(self._device, (size,), np.uint8)
        return held.array[: math.prod(shape) * kind.itemsize].view(kind).reshape(shape)

    def upload(self, stream: CudaStream, name: str, values: npt.NDArray[Any]) -> DeviceArray:
        """Copy small values to the device; see `host` and `device`."""
        there = self.device(name, values.shape, values.dtype)
        here = self.host(name, values.shape, values.dtype)
        here[...] = values
        stream.upload(there, here)
        return there

    def free(self) -> None:
        """Free the memory; all work of the device is finished."""
        for buffer in self._buffers.values():
            buffer.free()
        for pinned in self._pinned.values():
            pinned.free()
        self._buffers, self._pinned = {}, {}


class Slot:
    """Slot of a stream in a table, released when nothing refers to it any more."""

    def __init__(self, table: StreamTable) -> None:
        self.index = table.take()
        weakref.finalize(self, table.release, self.index).atexit = False


TokenPiece = dict[str, npt.NDArray[Any]]
"""Tokens in host memory: by the names of `TokenArrays`, `[L]` each."""

_TOKEN_TYPES = {"ids": "i4", "starts": "i8", "ends": "i8", "scores": "f4", "peaks": "f4"}


class TokenBuffers:
    """Device arrays of decoded tokens: `[rows, capacity]` each."""

    def __init__(self, workspace: Workspace, name: str, rows: int, capacity: int) -> None:
        self.capacity = capacity
        self._arrays = {
            field: workspace.device(f"{name}.{field}", (rows, capacity), dtype)
            for field, dtype in _TOKEN_TYPES.items()
        }

    @property
    def addresses(self) -> list[int]:
        """Addresses of ids, starts, ends, scores and peaks."""
        return [array.address for array in self._arrays.values()]

    def view(self) -> TokenArrays:
        """Return the kernels' struct."""
        return TokenArrays(*self.addresses, self.capacity)

    def download(self, stream: CudaStream, counts: Sequence[int]) -> list[TokenPiece]:
        """Return the first tokens of each row; waits for the stream."""
        rows = []
        for row, count in enumerate(counts):
            found = {}
            for field, array in self._arrays.items():
                found[field] = np.empty(count, array.dtype)
                part = array.rows(row, row + 1).view((count,))
                stream.download(found[field], part)
            rows.append(found)
        stream.synchronize()
        return rows
