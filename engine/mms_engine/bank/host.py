"""Storage of the adapter bank in host memory."""

import threading
from dataclasses import dataclass

import numpy as np

from mms_engine.backends.session import Array, Constant, convert, minus_infinity, storage_dtype
from mms_engine.bank.adapters import BankOptions
from mms_engine.bundle.adapters import AdapterWeights

_SMALLEST_VOCAB = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Arrays:
    """Arrays of all slots; the system commits memory only for slots that were written."""

    adapters: Array
    head_weight: Array
    head_bias: Array

    @property
    def vocab(self) -> int:
        """V: tokens that a head has room for."""
        return int(self.head_bias.shape[1])


class HostBank:
    """Slots in host memory, which graphs on a CPU read in place; see `BankStorage`.

    Heads grow with the largest resident vocabulary. Methods are thread-safe.
    """

    def __init__(self, options: BankOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._versions = np.zeros(options.slots, np.int64)  # writes of each slot
        self._vocabs: dict[int, int] = {}  # of each slot that was written
        shape = (options.slots, options.adapter_parameters)
        adapters = np.zeros(shape, storage_dtype(options.dtype))
        self._arrays = _Arrays(adapters, *self._heads(_SMALLEST_VOCAB))

    def write(self, slot: int, weights: AdapterWeights) -> None:
        """Write a language into a slot; see `BankStorage.write`."""
        vocab = len(weights.vocab)
        dtype = self._options.dtype
        with self._lock:
            if vocab > self._arrays.vocab:
                self._grow(vocab)
            self._arrays.adapters[slot] = convert(weights.adapter, dtype)
            self._arrays.head_weight[slot, :vocab] = convert(weights.head_weight, dtype)
            self._arrays.head_bias[slot, :vocab] = convert(weights.head_bias, dtype)
            self._arrays.head_bias[slot, vocab:] = minus_infinity(dtype)
            self._vocabs[slot] = vocab
            self._versions[slot] += 1

    def constants(self) -> dict[str, Constant]:
        """Return the bank as inputs of the encoder, over its own memory.

        The row count is a power of two or all slots, so that a device copy seldom has to grow.
        Call this while the languages of the run are held: their slots do not change, and arrays
        that are later replaced by larger ones stay as they are.
        """
        with self._lock:
            last = max(self._vocabs, default=0)
            rows = min(self._options.slots, 1 << last.bit_length())
            arrays, versions = self._arrays, self._versions[:rows].copy()
        names = ["head_weight", "head_bias"]
        if self._options.adapter_parameters:
            names.append("adapters")
        return {
            name: Constant(getattr(arrays, name)[:rows], self._options.dtype, versions)
            for name in names
        }

    def _grow(self, vocab: int) -> None:
        """Make room for larger vocabularies: copy the resident heads, not the adapters."""
        former = self._arrays
        heads = self._heads(max(vocab, min(1 << (vocab - 1).bit_length(), self._options.vocab)))
        self._arrays = _Arrays(former.adapters, *heads)
        for slot, size in self._vocabs.items():
            self._arrays.head_weight[slot, :size] = former.head_weight[slot, :size]
            self._arrays.head_bias[slot, :size] = former.head_bias[slot, :size]
            self._arrays.head_bias[slot, size:] = minus_infinity(self._options.dtype)

    def _heads(self, vocab: int) -> tuple[Array, Array]:
        dtype = storage_dtype(self._options.dtype)
        slots, hidden = self._options.slots, self._options.hidden_size
        return np.zeros((slots, vocab, hidden), dtype), np.zeros((slots, vocab), dtype)
