"""Storage of the adapter bank in host memory."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from mms_engine.backends.session import Array, Constant, convert, minus_infinity, storage_dtype
from mms_engine.bank.adapters import BankOptions
from mms_engine.bank.bank import Resident
from mms_engine.bank.heads import PADDING_PAGE, bank_shapes, in_pages, row_inputs
from mms_engine.bundle.adapters import AdapterWeights


class HostBank:
    """Slots and pages in host memory, which graphs on a CPU read in place; see `BankStorage`.

    The system commits memory only for what was written. Methods are thread-safe.
    """

    def __init__(self, options: BankOptions) -> None:
        self._dtype = options.dtype
        self._lock = threading.Lock()
        shapes = bank_shapes(
            options.adapter_parameters,
            options.hidden_size,
            slots=options.slots,
            pages=1 + options.pages,
        )
        dtype = storage_dtype(options.dtype)
        self._arrays = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
        self._arrays["head_bias"][PADDING_PAGE] = minus_infinity(options.dtype)
        self._versions = {
            name: np.zeros(len(array), np.int64) for name, array in self._arrays.items()
        }
        """Writes of each row of the first axis."""

    def write(self, resident: Resident[Any], weights: AdapterWeights) -> None:
        """Write a language into its slot and pages; see `BankStorage.write`."""
        pages = list(resident.pages)
        head_weight, head_bias = in_pages(weights.head_weight, weights.head_bias, self._dtype)
        with self._lock:
            self._write("head_weight", pages, head_weight)
            self._write("head_bias", pages, head_bias)
            if "adapters" in self._arrays:
                self._write("adapters", resident.slot, convert(weights.adapter, self._dtype))

    def _write(self, name: str, rows: int | list[int], values: Array) -> None:
        self._arrays[name][rows] = values
        self._versions[name][rows] += 1

    def inputs(self, held: Sequence[Resident[Any]]) -> dict[str, Array | Constant]:
        """Return the inputs of the encoder that are the bank's, for rows of held languages."""
        inputs = row_inputs(held, len(held), max(len(resident.pages) for resident in held))
        if "adapters" not in self._arrays:
            del inputs["slot"]
        return {**inputs, **self.constants()}

    def constants(self) -> dict[str, Constant]:
        """Return the arrays of the bank as inputs of the encoder, over its own memory.

        The number of rows is a power of two or all, so that a device copy seldom has to grow. Call
        this while the languages of the run are held: their slots and pages do not change.
        """
        with self._lock:
            return {name: self._constant(name) for name in self._arrays}

    def _constant(self, name: str) -> Constant:
        array, versions = self._arrays[name], self._versions[name]
        last = int(np.flatnonzero(versions)[-1]) if versions.any() else 0
        rows = min(len(array), 1 << last.bit_length())
        return Constant(array[:rows], self._dtype, versions[:rows].copy())
