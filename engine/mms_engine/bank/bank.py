"""The adapter bank: which languages are resident, in which slot, and who leaves for whom."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from mms_engine.bundle.adapters import AdapterWeights
from mms_engine.errors import BackendError
from mms_engine.text.vocabulary import Vocabulary


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


class Rows(Protocol):
    """Where the weights of resident languages lie: R slots in arrays that the encoder reads."""

    def write(self, slot: int, weights: AdapterWeights) -> None:
        """Put a language into a slot that no run holds; several threads write different slots."""
        ...


RowsT = TypeVar("RowsT", bound=Rows)


@dataclass(frozen=True, slots=True)
class Resident:
    """A language in the bank."""

    slot: int
    vocabulary: Vocabulary


@dataclass(slots=True, eq=False)
class _Entry:
    resident: Resident
    users: int = 0
    ready: bool = False
    """Whether its row is written."""


class AdapterBank(Generic[RowsT]):
    """Keeps languages resident in R slots; the longest unused one leaves when a slot is needed.

    A language that is held keeps its slot. All methods may be called from several threads.
    """

    def __init__(
        self, load: Callable[[str], AdapterWeights], options: BankOptions, rows: RowsT
    ) -> None:
        """Begin with no language.

        Args:
            load: Reads a language's weights.
            options: The sizes.
            rows: Where weights go.
        """
        if options.slots < 1:
            raise ValueError(f"a bank needs at least one slot, got {options.slots}")
        self.rows = rows
        self._load = load
        self._options = options
        self._changed = threading.Condition()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # longest unused first

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
        deadline = time.monotonic() + self._options.wait_seconds
        entries = None
        while entries is None:
            entries = self._fill(self._take(wanted, deadline))
        try:
            yield {name: entry.resident for name, entry in entries.items()}
        finally:
            self._release(entries)

    def prefetch(self, languages: Iterable[str]) -> None:
        """Bring languages in ahead of their use, as far as slots are free or unused.

        It does not wait for slots.

        Raises:
            LanguageError, BundleError: a language cannot be loaded.
        """
        for name in dict.fromkeys(languages):
            loaded = {each: self._load(each) for each in self._missing([name], ())}
            with self._changed:
                taken = self._hold([name], loaded) if self._make_room([name]) else None
            if taken is not None:
                entries = self._fill(taken)
                self._release(entries or {})

    def _take(self, wanted: list[str], deadline: float) -> "_Taken":
        """Load what is missing without the lock, then give each a slot and hold all with it."""
        loaded: dict[str, AdapterWeights] = {}
        while True:
            for language in self._missing(wanted, loaded):
                loaded[language] = self._load(language)
            with self._changed:
                if any(name not in loaded for name in wanted if name not in self._entries):
                    continue  # it left the bank after it was looked for
                if self._make_room(wanted):
                    return self._hold(wanted, loaded)
                if not self._changed.wait(deadline - time.monotonic()):
                    raise BackendError(
                        f"all {self.slots} adapter slots were in use for "
                        f"{self._options.wait_seconds:g} s while {', '.join(wanted)} waited: "
                        "run fewer languages at once, or allow the bank more memory (bank_bytes)"
                    )

    def _missing(self, wanted: list[str], loaded: Collection[str]) -> list[str]:
        with self._changed:
            return [name for name in wanted if name not in self._entries and name not in loaded]

    def _make_room(self, wanted: list[str]) -> bool:
        """Let the longest unused languages leave, if that frees the slots that are needed."""
        needed = sum(name not in self._entries for name in wanted)
        idle = [name for name, entry in self._entries.items() if entry.users == 0]
        leaving = [name for name in idle if name not in wanted]
        short = needed - (self.slots - len(self._entries))
        if short > len(leaving):
            return False
        for name in leaving[: max(0, short)]:
            del self._entries[name]
        return True

    def _hold(self, wanted: list[str], loaded: dict[str, AdapterWeights]) -> "_Taken":
        taken = {entry.resident.slot for entry in self._entries.values()}
        free = (slot for slot in range(self.slots) if slot not in taken)
        new = {name: loaded[name] for name in wanted if name not in self._entries}
        for name, weights in new.items():
            self._entries[name] = _Entry(Resident(next(free), Vocabulary(weights.vocab)))
        for name in wanted:
            self._entries[name].users += 1
            self._entries.move_to_end(name)
        return _Taken({name: self._entries[name] for name in wanted}, new)

    def _fill(self, taken: "_Taken") -> dict[str, _Entry] | None:
        """Write the new rows and wait for those that others write; `None` if one of these failed.

        Without the lock: writing takes time, and nobody else touches a slot that is held.
        """
        try:
            for name, weights in taken.new.items():
                self.rows.write(taken.entries[name].resident.slot, weights)
                with self._changed:
                    taken.entries[name].ready = True
                    self._changed.notify_all()
        except BaseException:
            self._forget(taken)
            raise
        with self._changed:
            self._changed.wait_for(lambda: all(map(self._settled, taken.entries.items())))
            if all(entry.ready for entry in taken.entries.values()):
                return taken.entries
        self._forget(replace(taken, new={}))
        return None

    def _settled(self, item: tuple[str, _Entry]) -> bool:
        name, entry = item
        return entry.ready or self._entries.get(name) is not entry

    def _forget(self, taken: "_Taken") -> None:
        """Let go of what was taken; what was to be written and is not has no slot any more."""
        with self._changed:
            for name in taken.new:
                if not taken.entries[name].ready:
                    del self._entries[name]
        self._release(taken.entries)

    def _release(self, entries: dict[str, _Entry]) -> None:
        with self._changed:
            for entry in entries.values():
                entry.users -= 1
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Taken:
    entries: dict[str, _Entry]
    """What is held, by language."""
    new: dict[str, AdapterWeights]
    """Those of them whose rows this caller has to write."""


def slots_within(
    budget: int, *, adapter_parameters: int, hidden_size: int, vocab: int, itemsize: int
) -> int:
    """Return how many languages fit in `budget` bytes, at least one."""
    row = (adapter_parameters + vocab * (hidden_size + 1)) * itemsize
    return max(1, budget // row)
