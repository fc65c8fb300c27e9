"""The adapter bank: languages resident in the rows of three arrays that the encoder reads."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from mms_engine.backends.base import Array, Constant
from mms_engine.bundle.adapters import AdapterWeights
from mms_engine.errors import BackendError
from mms_engine.vocab import Vocabulary

_NUMPY_DTYPE = {"float32": "float32", "float16": "float16", "bfloat16": "uint16"}
_SMALLEST_VOCAB = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class BankOptions:
    """Sizes of a bank."""

    adapter_parameters: int
    """P: values of one language's adapter."""
    hidden_size: int
    """H: values of one token's row in a head."""
    dtype: str
    """Of the rows, as the graph declares it: `float32`, `float16` or `bfloat16`."""
    slots: int
    """R: languages that can be resident at once."""
    wait_seconds: float = 60.0
    """How long `acquire` waits for a slot before it gives up."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A language in the bank."""

    slot: int
    vocabulary: Vocabulary


@dataclass(slots=True)
class _Entry:
    resident: Resident
    users: int = 0


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


class AdapterBank:
    """Keeps languages resident in R slots; the longest unused one leaves when a slot is needed.

    A language that is held keeps its slot. All methods may be called from several threads.
    """

    def __init__(self, load: Callable[[str], AdapterWeights], options: BankOptions) -> None:
        if options.slots < 1:
            raise ValueError(f"a bank needs at least one slot, got {options.slots}")
        self._load = load
        self._options = options
        self._changed = threading.Condition()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # longest unused first
        self._version = 0
        dtype = _NUMPY_DTYPE[options.dtype]
        adapters = np.zeros((options.slots, options.adapter_parameters), dtype)
        self._arrays = _Arrays(adapters, *self._heads(_SMALLEST_VOCAB))

    def __repr__(self) -> str:
        return f"AdapterBank({len(self._entries)} of {self.slots} slots)"

    @property
    def slots(self) -> int:
        """R: languages that can be resident at once."""
        return self._options.slots

    @property
    def languages(self) -> tuple[str, ...]:
        """Resident languages, longest unused first."""
        with self._changed:
            return tuple(self._entries)

    @contextlib.contextmanager
    def acquire(self, languages: Collection[str]) -> Iterator[dict[str, Resident]]:
        """Hold languages in the bank, loading those that are not resident.

        They are taken all at once or not at all, so that two callers cannot wait for each other.

        Raises:
            BackendError: there are more languages than slots, or no slot came free in time.
            LanguageError, BundleError: a language cannot be loaded.
        """
        wanted = sorted(set(languages))
        if len(wanted) > self.slots:
            raise BackendError(
                f"{len(wanted)} languages at once do not fit in {self.slots} adapter slots: "
                "take fewer at once, or allow the bank more memory (bank_bytes)"
            )
        residents = self._take(wanted)
        try:
            yield residents
        finally:
            with self._changed:
                for language in wanted:
                    self._entries[language].users -= 1
                self._changed.notify_all()

    def constants(self) -> dict[str, Constant]:
        """Return the bank as the encoder's inputs, over the bank's own memory.

        Call it while the languages of the run are held: their rows do not change, and when the
        arrays are replaced by larger ones, those returned before stay as they are.
        """
        with self._changed:
            rows = max((entry.resident.slot for entry in self._entries.values()), default=0) + 1
            arrays, dtype, version = self._arrays, self._options.dtype, self._version
        return {
            "adapters": Constant(arrays.adapters[:rows], dtype, version),
            "head_weight": Constant(arrays.head_weight[:rows], dtype, version),
            "head_bias": Constant(arrays.head_bias[:rows], dtype, version),
        }

    def _take(self, wanted: list[str]) -> dict[str, Resident]:
        """Load what is missing without the lock, then admit it and hold all with the lock."""
        deadline = time.monotonic() + self._options.wait_seconds
        loaded: dict[str, AdapterWeights] = {}
        while True:
            for language in self._missing(wanted, loaded):
                loaded[language] = self._load(language)
            with self._changed:
                new = [name for name in wanted if name not in self._entries]
                if any(name not in loaded for name in new):
                    continue  # it left the bank after it was looked for
                if self._make_room(wanted, len(new)):
                    return self._hold(wanted, {name: loaded[name] for name in new})
                if not self._changed.wait(deadline - time.monotonic()):
                    raise BackendError(
                        f"all {self.slots} adapter slots were in use for "
                        f"{self._options.wait_seconds:g} s while {', '.join(wanted)} waited: "
                        "run fewer languages at once, or allow the bank more memory (bank_bytes)"
                    )

    def _missing(self, wanted: list[str], loaded: Collection[str]) -> list[str]:
        with self._changed:
            return [name for name in wanted if name not in self._entries and name not in loaded]

    def _make_room(self, wanted: list[str], needed: int) -> bool:
        """Let the longest unused languages leave, if that frees the slots `needed`."""
        idle = [name for name, entry in self._entries.items() if entry.users == 0]
        leaving = [name for name in idle if name not in wanted]
        short = needed - (self.slots - len(self._entries))
        if short > len(leaving):
            return False
        for name in leaving[: max(0, short)]:
            del self._entries[name]
        return True

    def _hold(self, wanted: list[str], new: dict[str, AdapterWeights]) -> dict[str, Resident]:
        for name, weights in new.items():
            self._admit(name, weights)
        for name in wanted:
            self._entries[name].users += 1
            self._entries.move_to_end(name)
        return {name: self._entries[name].resident for name in wanted}

    def _admit(self, language: str, weights: AdapterWeights) -> None:
        taken = {entry.resident.slot for entry in self._entries.values()}
        slot = next(number for number in range(self.slots) if number not in taken)
        vocab = len(weights.vocab)
        if vocab > self._arrays.vocab:
            self._grow(vocab)
        dtype = self._options.dtype
        self._arrays.adapters[slot] = _convert(weights.adapter, dtype)
        self._arrays.head_weight[slot, :vocab] = _convert(weights.head_weight, dtype)
        self._arrays.head_bias[slot, :vocab] = _convert(weights.head_bias, dtype)
        self._arrays.head_bias[slot, vocab:] = _minus_infinity(dtype)
        self._entries[language] = _Entry(Resident(slot, Vocabulary(weights.vocab)))
        self._version += 1

    def _grow(self, vocab: int) -> None:
        """Make room for larger vocabularies: copies the resident heads, not the adapters."""
        former = self._arrays
        heads = self._heads(1 << (vocab - 1).bit_length())
        self._arrays = _Arrays(former.adapters, *heads)
        for entry in self._entries.values():
            slot, size = entry.resident.slot, len(entry.resident.vocabulary)
            self._arrays.head_weight[slot, :size] = former.head_weight[slot, :size]
            self._arrays.head_bias[slot, :size] = former.head_bias[slot, :size]
            self._arrays.head_bias[slot, size:] = _minus_infinity(self._options.dtype)

    def _heads(self, vocab: int) -> tuple[Array, Array]:
        slots, dtype = self._options.slots, _NUMPY_DTYPE[self._options.dtype]
        weight = np.zeros((slots, vocab, self._options.hidden_size), dtype)
        return weight, np.zeros((slots, vocab), dtype)


def slots_within(
    budget: int, *, adapter_parameters: int, hidden_size: int, vocab: int, itemsize: int
) -> int:
    """Return how many languages fit in `budget` bytes, at least one."""
    row = (adapter_parameters + vocab * (hidden_size + 1)) * itemsize
    return max(1, budget // row)


def _convert(array: Array, dtype: str) -> Array:
    """Return values as the bank stores them; assignment itself converts between NumPy's floats."""
    if dtype != "bfloat16":
        return array
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    # To the nearest, ties to even: what is cut off carries over when it is more than a half.
    carry = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + carry) >> np.uint32(16)).astype(np.uint16)


def _minus_infinity(dtype: str) -> float | int:
    return 0xFF80 if dtype == "bfloat16" else -np.inf
