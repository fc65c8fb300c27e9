"""Bank of resident weights: slots, reference counts and least-recently-used eviction."""

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mms_engine.errors import BackendError

WeightsT = TypeVar("WeightsT")
WeightsIn = TypeVar("WeightsIn", contravariant=True)
InfoT = TypeVar("InfoT")


class BankStorage(Protocol[WeightsIn]):
    """Storage of resident weights: R slots in arrays that a graph reads."""

    def write(self, slot: int, weights: WeightsIn) -> None:
        """Write weights into a slot that no run holds; threads write different slots."""
        ...


StorageT = TypeVar("StorageT", bound=BankStorage[Any])


@dataclass(frozen=True, slots=True)
class Resident(Generic[InfoT]):
    """Weights in the bank."""

    slot: int
    info: InfoT
    """Result of `describe` for them."""


@dataclass(slots=True, eq=False)
class _Entry(Generic[InfoT]):
    slot: int
    resident: Resident[InfoT] | None = None
    """Set once the slot is written."""
    users: int = 0


class Bank(Generic[WeightsT, InfoT, StorageT]):
    """Weights by key (language, voice) in R slots, with least-recently-used eviction.

    A key that is held keeps its slot. Each key is loaded by one thread while others wait for it;
    callers that wait for slots are served first come, first served. Methods are thread-safe.
    """

    def __init__(
        self,
        load: Callable[[str], WeightsT],
        describe: Callable[[WeightsT], InfoT],
        storage: StorageT,
        *,
        slots: int,
        wait_seconds: float = 60.0,
    ) -> None:
        """Start empty.

        Args:
            load: Function that reads the weights of a key.
            describe: Function that returns what callers need of the weights (a vocabulary).
            storage: Memory of the slots.
            slots: R: keys that can be resident at once.
            wait_seconds: Seconds that `acquire` waits for a slot.
        """
        if slots < 1:
            raise ValueError(f"a bank needs at least one slot, got {slots}")
        self.storage = storage
        self.slots = slots
        """R: keys that can be resident at once."""
        self._load = load
        self._describe = describe
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._entries: OrderedDict[str, _Entry[InfoT]] = OrderedDict()  # LRU first
        self._queue: deque[object] = deque()
        """Tickets of the callers that wait for slots, in their order."""

    def __repr__(self) -> str:
        return f"Bank({len(self._entries)} of {self.slots} slots)"

    @property
    def keys(self) -> tuple[str, ...]:
        """Resident keys, least recently used first."""
        with self._changed:
            return tuple(self._entries)

    @contextlib.contextmanager
    def acquire(self, keys: Collection[str]) -> Iterator[dict[str, Resident[InfoT]]]:
        """Hold keys in the bank, loading those that are not resident.

        All slots are taken at once, so two callers never hold part of what the other needs. A
        thread that holds keys should not acquire others: callers in the queue may wait for it.

        Raises:
            BackendError: there are more keys than slots, or no slot came free in time.
            LanguageError, BundleError: the weights of a key cannot be loaded.
        """
        wanted = sorted(set(keys))
        if len(wanted) > self.slots:
            raise BackendError(
                f"{len(wanted)} languages at once do not fit in {self.slots} adapter slots: "
                "use fewer at once, or allow more memory (adapter_cache_bytes)"
            )
        deadline = time.monotonic() + self._wait_seconds
        residents = None
        while residents is None:
            entries, fresh = self._reserve(wanted, deadline)
            residents = self._fill(entries, fresh)
        try:
            yield residents
        finally:
            self._release(entries.values())

    def shrink(self, least: int, resize: Callable[[int], None]) -> bool:
        """Halve the slots, once no key is held, and forget all keys.

        Args:
            least: Slots that must be left.
            resize: Function that gives the storage its new number of slots.

        Returns:
            Whether there are fewer now; false if `least` are all, or keys stayed held.
        """
        ticket = object()
        with self._changed:
            slots = max(1, least, self.slots // 2)
            if slots >= self.slots:
                return False
            self._queue.append(ticket)
            try:
                if not self._changed.wait_for(
                    lambda: (
                        self._queue[0] is ticket
                        and not any(entry.users for entry in self._entries.values())
                    ),
                    self._wait_seconds,
                ):
                    return False
                self._entries.clear()
                resize(slots)
                self.slots = slots
                return True
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def prefetch(self, keys: Iterable[str]) -> None:
        """Load keys into free or idle slots ahead of their use, without waiting for slots.

        Raises:
            LanguageError, BundleError: the weights of a key cannot be loaded.
        """
        ahead = list(dict.fromkeys(keys))
        for key in ahead:
            with self._changed:
                if self._queue or key in self._entries or not self._evict(1, keep=ahead):
                    continue
                entries, fresh = self._hold([key])
            if self._fill(entries, fresh) is not None:
                self._release(entries.values())

    def _reserve(
        self, wanted: list[str], deadline: float
    ) -> tuple[dict[str, _Entry[InfoT]], list[str]]:
        """Wait for slots for `wanted`, and return the held entries and the keys to load."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                if self._changed.wait_for(
                    lambda: self._queue[0] is ticket and self._has_room(wanted),
                    max(0.0, deadline - time.monotonic()),
                ):
                    return self._hold(wanted)
                raise BackendError(
                    f"all {self.slots} adapter slots were in use for {self._wait_seconds:g} s: "
                    "use fewer languages at once, or allow more memory (adapter_cache_bytes)"
                )
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _has_room(self, wanted: Collection[str]) -> bool:
        missing = sum(key not in self._entries for key in wanted)
        return self._evict(missing, keep=wanted)

    def _evict(self, needed: int, *, keep: Collection[str]) -> bool:
        """Evict least recently used keys for `needed` free slots; none if too few are idle."""
        idle = [k for k, entry in self._entries.items() if entry.users == 0 and k not in keep]
        short = needed - (self.slots - len(self._entries))
        if short > len(idle):
            return False
        for key in idle[: max(0, short)]:
            del self._entries[key]
        return True

    def _hold(self, wanted: list[str]) -> tuple[dict[str, _Entry[InfoT]], list[str]]:
        taken = {entry.slot for entry in self._entries.values()}
        free = (slot for slot in range(self.slots) if slot not in taken)
        fresh = [key for key in wanted if key not in self._entries]
        for key in fresh:
            self._entries[key] = _Entry(next(free))
        for key in wanted:
            self._entries[key].users += 1
            self._entries.move_to_end(key)
        return {key: self._entries[key] for key in wanted}, fresh

    def _fill(
        self, entries: dict[str, _Entry[InfoT]], fresh: list[str]
    ) -> dict[str, Resident[InfoT]] | None:
        """Load and write `fresh`, and wait for keys that others load.

        Return `None`, with nothing held, if another thread failed to load one of them. Loading
        runs without the lock: nothing else touches a slot that is held and not yet written.
        """
        try:
            for key in fresh:
                entry, weights = entries[key], self._load(key)
                self.storage.write(entry.slot, weights)
                with self._changed:
                    entry.resident = Resident(entry.slot, self._describe(weights))
                    self._changed.notify_all()
        except BaseException:
            self._abandon(entries, fresh)
            raise
        with self._changed:
            self._changed.wait_for(lambda: all(map(self._is_settled, entries.items())))
            residents = {k: e.resident for k, e in entries.items() if e.resident is not None}
            if len(residents) == len(entries):
                return residents
        self._release(entries.values())
        return None

    def _is_settled(self, item: tuple[str, _Entry[InfoT]]) -> bool:
        key, entry = item
        return entry.resident is not None or self._entries.get(key) is not entry

    def _abandon(self, entries: dict[str, _Entry[InfoT]], fresh: list[str]) -> None:
        """Release entries after a failure; keys that were not written lose their slots."""
        with self._changed:
            for key in fresh:
                if entries[key].resident is None:
                    del self._entries[key]
        self._release(entries.values())

    def _release(self, entries: Iterable[_Entry[InfoT]]) -> None:
        with self._changed:
            for entry in entries:
                entry.users -= 1
            self._changed.notify_all()
