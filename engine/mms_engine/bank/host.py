"""The rows of the adapter bank in host memory, and how weights become rows."""

import threading
from dataclasses import dataclass

import numpy as np

from mms_engine.backends.session import NUMPY_DTYPE, Array, Constant, convert, minus_infinity
from mms_engine.bank.adapters import BankOptions
from mms_engine.bundle.adapters import AdapterWeights

_SMALLEST_VOCAB = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Arrays:
    """The rows. The system gives memory only for rows that were written."""

    adapters: Array
    head_weight: Array
    head_bias: Array

    @property
    def vocab(self) -> int:
        """V: tokens a head has room for."""
        return int(self.head_bias.shape[1])


class HostBank:
    """Rows in host memory, which graphs on a CPU read in place; heads grow as languages need.

    May be used from several threads.
    """

    def __init__(self, options: BankOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._version = 0
        self._vocabs: dict[int, int] = {}  # of each slot that was written
        dtype = NUMPY_DTYPE[options.dtype]
        adapters = np.zeros((options.slots, options.adapter_parameters), dtype)
        self._arrays = _Arrays(adapters, *self._heads(_SMALLEST_VOCAB))

    def write(self, slot: int, weights: AdapterWeights) -> None:
        """Put a language into a slot; see `BankStorage.write`."""
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
            self._version += 1

    def constants(self) -> dict[str, Constant]:
        """Return the bank as the encoder's inputs, over the bank's own memory.

        Call it while the languages of the run are held: their rows do not change, and when the
        arrays are replaced by larger ones, those returned before stay as they are.
        """
        with self._lock:
            rows = max(self._vocabs, default=0) + 1
            arrays, dtype, version = self._arrays, self._options.dtype, self._version
        return {
            "adapters": Constant(arrays.adapters[:rows], dtype, version),
            "head_weight": Constant(arrays.head_weight[:rows], dtype, version),
            "head_bias": Constant(arrays.head_bias[:rows], dtype, version),
        }

    def _grow(self, vocab: int) -> None:
        """Make room for larger vocabularies: copies the resident heads, not the adapters."""
        former = self._arrays
        heads = self._heads(1 << (vocab - 1).bit_length())
        self._arrays = _Arrays(former.adapters, *heads)
        for slot, size in self._vocabs.items():
            self._arrays.head_weight[slot, :size] = former.head_weight[slot, :size]
            self._arrays.head_bias[slot, :size] = former.head_bias[slot, :size]
            self._arrays.head_bias[slot, size:] = minus_infinity(self._options.dtype)

    def _heads(self, vocab: int) -> tuple[Array, Array]:
        dtype = NUMPY_DTYPE[self._options.dtype]
        slots, hidden = self._options.slots, self._options.hidden_size
        return np.zeros((slots, vocab, hidden), dtype), np.zeros((slots, vocab), dtype)
