"""Storage of the adapter bank in device memory, written concurrently with runs."""

import contextlib
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mms_engine.backends.session import convert, minus_infinity, storage_dtype
from mms_engine.bank.adapters import BankOptions
from mms_engine.bank.bank import Resident
from mms_engine.bank.heads import PADDING_PAGE, PAGE_TOKENS, bank_shapes, in_pages
from mms_engine.bundle.adapters import AdapterWeights
from mms_engine.cuda.context import CudaDevice, Owned
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.pinned import PinnedRing
from mms_engine.cuda.streams import CudaEvent, CudaStream
from mms_engine.errors import BackendError

_STAGES = 2
_MARGIN = 128 << 20


@dataclass(slots=True, eq=False)
class _Slot:
    written: CudaEvent
    """Recorded after the last copy into the slot."""
    read: dict[int, CudaEvent] = field(default_factory=dict)
    """Recorded after the last run that reads the slot, by the handle of the run's stream."""

    def free(self) -> None:
        for event in (self.written, *self.read.values()):
            event.free()


class DeviceBank:
    """Slots and pages in device memory at fixed addresses; see `BankStorage`.

    A language is one contiguous copy per array, or several where its pages are not neighbours, on a
    CUDA stream of their own. Events order them: a run waits for the copies of its languages, a copy
    waits for the runs that read its slot or pages before.
    """

    def __init__(self, device: CudaDevice, options: BankOptions) -> None:
        """Allocate slots and pages.

        Args:
            device: GPU of the encoder.
            options: Sizes of the bank.
        """
        self._device = device
        self._dtype = options.dtype
        self._options = options
        self._lock = threading.Lock()
        with device.creating(f"allocating {options.slots} adapter slots") as owned:
            self._copies = owned(CudaStream(device))
            self.arrays = self._allocate(options.slots, options.pages, owned)
            """Inputs of the encoder, by name."""
            self._ring = owned(PinnedRing(device, _STAGES))
            self._slots = [_Slot(owned(CudaEvent(device))) for _ in range(options.slots)]

    def _allocate(self, slots: int, pages: int, owned: Owned) -> dict[str, DeviceArray]:
        options, dtype = self._options, storage_dtype(self._dtype)
        shapes = bank_shapes(
            options.adapter_parameters, options.hidden_size, slots=slots, pages=1 + pages
        )
        arrays = {
            name: owned(DeviceArray.empty(self._device, shape, dtype))
            for name, shape in shapes.items()
        }
        padding = np.full(PAGE_TOKENS, minus_infinity(self._dtype), dtype)
        self._copies.clear(arrays["head_weight"].row(PADDING_PAGE))
        self._copies.upload(arrays["head_bias"].row(PADDING_PAGE), padding)
        self._copies.synchronize()
        self._holders: list[int | None] = [None] * (1 + pages)
        """Slot of the language that each page had last."""
        return arrays

    @property
    def sizes(self) -> dict[str, int]:
        """Dimensions of the arrays, by their names in the graph."""
        sizes = {"bank_pages": len(self.arrays["head_bias"])}
        if "adapters" in self.arrays:
            sizes["slots"] = len(self.arrays["adapters"])
        return sizes

    def pages_of(self, held: Sequence[Resident[Any]]) -> int:
        """Return the pages of a row in a run: those of its widest language, rounded up.

        They are a power of two, or as many as the widest language of all has, so that runs have few
        shapes.
        """
        most = max(len(resident.pages) for resident in held)
        return min(1 << (most - 1).bit_length(), self._options.sizes[0])

    def shrink(self, slots: int, pages: int) -> None:
        """Keep only some slots and pages, none of which is held, and forget what is in them.

        Raises:
            BackendError: the device failed.
        """
        with self._lock, self._device.creating(f"shrinking the bank to {slots} slots") as owned:
            self._device.driver.Context.synchronize()
            for array in self.arrays.values():
                array.free()
            for slot in self._slots[slots:]:
                slot.free()
            del self._slots[slots:]
            self.arrays.clear()  # as after `free`, if there is no memory even for these
            self.arrays.update(self._allocate(slots, pages, owned))

    def write(self, resident: Resident[Any], weights: AdapterWeights) -> None:
        """Enqueue the copy of a language into its slot and pages; see `BankStorage.write`.

        Raises:
            BackendError: the device failed.
        """
        if not self.arrays:
            raise BackendError("the model is closed")
        parts = self._parts(resident, weights)
        size = sum(target.nbytes for target, _ in parts)
        with (
            self._device.active(f"copying the adapter of {weights.language}"),
            self._ring.staging(size, self._copies) as room,
        ):
            staged, start = [], 0
            for target, values in parts:
                view = room[start : start + target.nbytes].view(target.dtype)
                view.reshape(target.shape)[...] = values
                staged.append((target, view))
                start += target.nbytes
            with self._lock:
                self._send(resident, staged)

    @contextlib.contextmanager
    def reading(self, slots: Collection[int], stream: CudaStream) -> Iterator[None]:
        """Order work that the block enqueues on `stream` with the copies into `slots`.

        The languages of the slots must be held in the bank.
        """
        with self._lock:
            for slot in set(slots):
                stream.wait(self._slots[slot].written)
        try:
            yield
        finally:
            with self._lock:
                for slot in set(slots):
                    read = self._slots[slot].read
                    if stream.handle not in read:
                        read[stream.handle] = CudaEvent(self._device)
                    stream.record(read[stream.handle])

    def free(self) -> None:
        """Free the memory once all copies are done. May be called twice."""
        if not self.arrays:
            return
        with self._device.active("freeing the adapter bank"):
            self._copies.free()
            self._ring.free()
            for array in self.arrays.values():
                array.free()
            self.arrays.clear()
            for slot in self._slots:
                slot.free()
            self._slots.clear()

    def _parts(
        self, resident: Resident[Any], weights: AdapterWeights
    ) -> list[tuple[DeviceArray, np.ndarray]]:
        """Return the parts of a language: target and values."""
        parts = []
        head = in_pages(weights.head_weight, weights.head_bias, self._dtype)
        for name, values in zip(("head_weight", "head_bias"), head, strict=True):
            for own in _neighbours(resident.pages):
                first = resident.pages[own.start]
                target = self.arrays[name].rows(first, first + own.stop - own.start)
                parts.append((target, values[own]))
        if "adapters" in self.arrays:
            target = self.arrays["adapters"].row(resident.slot)
            parts.append((target, convert(weights.adapter, self._dtype)))
        return parts

    def _send(self, resident: Resident[Any], staged: list[tuple[DeviceArray, np.ndarray]]) -> None:
        pages, state = resident.pages, self._slots[resident.slot]
        # A page moves between slots: its last readers are among those of the slot that had it.
        holders = {self._holders[page] for page in pages}
        for slot in {resident.slot, *(slot for slot in holders if slot is not None)}:
            for event in self._slots[slot].read.values():
                self._copies.wait(event)
        for target, view in staged:
            self._copies.upload(target, view)
        self._copies.record(state.written)
        for page in pages:
            self._holders[page] = resident.slot


def _neighbours(pages: Sequence[int]) -> Iterator[slice]:
    """Yield the parts of ascending page numbers that are consecutive."""
    start = 0
    for end in range(1, len(pages) + 1):
        if end == len(pages) or pages[end] != pages[end - 1] + 1:
            yield slice(start, end)
            start = end


def bank_bytes(free: int, wanted: int, reserve: int) -> int:
    """Return the memory budget of the bank.

    Args:
        free: Free bytes on the device with the plans loaded.
        wanted: Budget of the caller; 0 for the free bytes less the reserve.
        reserve: Bytes that runs will take; a tenth more is left, and 128 MiB for other programs.
    """
    return wanted or max(0, free - reserve - reserve // 10 - _MARGIN)
