"""State of utterances and decoded tokens in device memory."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.cuda.workspace import Workspace
from mms_kernels.cuda.arguments import TokenArrays

TableLayout = Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]
"""Shape and dtype of one slot of each array, by name."""

_FIRST_SLOTS = 16


class StreamTable:
    """State of many utterances, one slot each, in arrays that grow.

    Used inside `CudaDevice.active`, except for `release`.
    """

    def __init__(self, device: CudaDevice, stream: CudaStream, layout: TableLayout) -> None:
        self._device = device
        self._stream = stream
        self._layout = layout
        self._arrays: dict[str, DeviceArray] = {}
        self._free: list[int] = []
        self._slots = 0

    def __getitem__(self, name: str) -> DeviceArray:
        """Array `[slots, ...]`; its address changes when the table grows."""
        return self._arrays[name]

    def address(self, name: str) -> int:
        """Address of an array."""
        return self._arrays[name].address

    def take(self) -> int:
        """Return an uninitialised slot."""
        if not self._free:
            self._grow(2 * self._slots or _FIRST_SLOTS)
        return self._free.pop()

    def release(self, slot: int) -> None:
        """Release a slot, from any thread."""
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


class Slot:
    """Slot of a table, released when this object is collected."""

    def __init__(self, table: StreamTable) -> None:
        self.index = table.take()
        weakref.finalize(self, table.release, self.index).atexit = False


TokenPiece = dict[str, npt.NDArray[Any]]
"""Tokens in host memory: arrays `[L]`, named as in `TokenArrays`."""

_TOKEN_TYPES = {"ids": "i4", "starts": "i8", "ends": "i8", "scores": "f4", "peaks": "f4"}


class TokenBuffers:
    """Device arrays of decoded tokens: `[rows, capacity]` each."""

    def __init__(self, workspace: Workspace, name: str, rows: int, capacity: int) -> None:
        self.capacity = capacity
        self._workspace = workspace
        self._name = name
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
        """Wait for the stream and return the first tokens of each row."""
        shape = (len(counts), max(counts, default=0))
        if not shape[1]:
            nothing = {name: np.empty(0, dtype) for name, dtype in _TOKEN_TYPES.items()}
            return [nothing for _ in counts]
        found = {}
        for field, array in self._arrays.items():
            found[field] = self._workspace.host(f"{self._name}.{field}", shape, array.dtype)
            stream.download_columns(found[field], array)
        stream.synchronize()
        return [
            {field: array[row, :count].copy() for field, array in found.items()}
            for row, count in enumerate(counts)
        ]
