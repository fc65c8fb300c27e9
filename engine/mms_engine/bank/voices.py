"""Storage of resident voices in host memory, and the bank of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mms_engine.backends.session import Array, convert, storage_dtype
from mms_engine.bank.bank import Bank, Resident
from mms_engine.bundle.manifest import Tensor
from mms_engine.bundle.voices import Voice, VoiceWeights
from mms_engine.errors import BundleCorrupt
from mms_kernels import widen


class VoiceStorage(Protocol):
    """Storage of resident voices; see `BankStorage`."""

    def write(self, resident: Resident[Any], weights: VoiceWeights) -> None:
        """Convert a voice's weights into its slot.

        Raises:
            BundleCorrupt: the voice lacks a weight, or one has another shape.
            BackendError: the device failed.
        """
        ...

    def arrays(self, slot: int) -> Mapping[str, Any]:
        """Return the weights of a written slot by name, as the graphs' sessions take them.

        The caller holds the voice in the bank.
        """
        ...

    def free(self) -> None:
        """Free the memory of all slots, of which no run is in progress."""
        ...


VoiceBank: TypeAlias = Bank[VoiceWeights, Voice, VoiceStorage]
"""Bank whose keys are voices; `Resident.info` is the voice's description."""
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Slot:
    """Memory of a voice."""

    memory: npt.NDArray[np.uint8]
    arrays: Mapping[str, Array]
    """Weights by name, over `memory`."""


class HostVoices:
    """Slots in host memory, which graphs on a CPU read in place; see `VoiceStorage`.

    A slot has its memory once a voice is written, and keeps it for the next voice of the same
    size. Threads that speak with one voice share its slot.
    """

    def __init__(self, slots: int, inputs: Sequence[Tensor], threads: int) -> None:
        """Start empty.

        Args:
            slots: R: number of slots.
            inputs: Weights that the graphs take.
            threads: Threads that convert a voice.
        """
        self._inputs = inputs
        self._threads = threads
        self._slots: list[_Slot | None] = [None] * slots

    def write(self, resident: Resident[Any], weights: VoiceWeights) -> None:
        """Convert a voice's weights into its slot; see `VoiceStorage.write`."""
        found = {tensor.name: find_weight(weights, tensor) for tensor in self._inputs}
        offsets: dict[str, int] = {}
        size = 0
        for tensor in self._inputs:
            offsets[tensor.name] = size
            nbytes = found[tensor.name].size * storage_dtype(tensor.dtype).itemsize
            size += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
        former = self._slots[resident.slot]
        reusable = former is not None and former.memory.size == size
        memory = former.memory if former and reusable else np.empty(size, np.uint8)
        arrays: dict[str, Array] = {}
        for tensor in self._inputs:
            source, dtype = found[tensor.name], storage_dtype(tensor.dtype)
            start = offsets[tensor.name]
            flat = memory[start : start + source.size * dtype.itemsize].view(dtype)
            _copy(source.reshape(-1), flat, tensor.dtype, self._threads)
            arrays[tensor.name] = flat.reshape(source.shape)
        self._slots[resident.slot] = _Slot(memory, arrays)

    def arrays(self, slot: int) -> Mapping[str, Array]:
        """Return the weights of a written slot by name; see `VoiceStorage.arrays`."""
        held = self._slots[slot]
        if held is None:
            raise AssertionError("a resident slot is written")
        return held.arrays

    def free(self) -> None:
        """Nothing: the memory goes with the object."""


def voice_bank(
    load: Callable[[str], VoiceWeights], storage: VoiceStorage, *, slots: int
) -> VoiceBank:
    """Return an empty bank of voices.

    Args:
        load: Function that opens a voice's files.
        storage: Memory of the slots.
        slots: R: number of slots.
    """
    return Bank(load, lambda file: file.voice, storage, slots=slots)


def voice_shape(tensor: Tensor, vocab: int) -> tuple[int, ...]:
    """Return the shape of a weight in a voice with a vocabulary of `vocab` tokens."""
    return tuple(vocab if isinstance(size, str) else size for size in tensor.shape)


def voice_slots(inputs: Sequence[Tensor], *, vocab: int, voices: int, budget: int) -> int:
    """Return the number of voices that fit in memory; at least one.

    Args:
        inputs: Weights that the graphs take.
        vocab: Tokens of the largest vocabulary.
        voices: Number of voices in the bundle.
        budget: Bytes for resident voices.
    """
    size = sum(
        prod(voice_shape(tensor, vocab)) * storage_dtype(tensor.dtype).itemsize for tensor in inputs
    )
    return max(1, min(voices, budget // max(size, 1)))


def find_weight(file: VoiceWeights, tensor: Tensor) -> npt.NDArray[Any]:
    """Return a weight of a voice: quantised if the graph takes it so.

    Raises:
        BundleCorrupt: it is missing, or has another shape.
    """
    array = file.tensors.get(tensor.name)
    wanted = tensor.shape
    if array is None:
        raise BundleCorrupt(f"{file.path} has no {tensor.name}: export the voice again")
    fits = len(wanted) == array.ndim and all(
        isinstance(size, str) or size == got for size, got in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        raise BundleCorrupt(
            f"{file.path}: {tensor.name} is {list(array.shape)}, the graphs take {list(wanted)}: "
            "export a voice of another shape to a bundle of its own"
        )
    return array


def _copy(source: npt.NDArray[Any], target: npt.NDArray[Any], dtype: str, threads: int) -> None:
    if source.dtype == np.float16 and target.dtype == np.float32:
        widen(source, target, threads=threads if source.size > 1 << 18 else 1)
    else:
        target[:] = convert(source, dtype)
