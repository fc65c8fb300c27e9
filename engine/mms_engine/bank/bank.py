"""Bank of resident weights: slots, reference counts and least-recently-used eviction."""

import contextlib
import heapq
import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mms_engine.errors import BackendError

WeightsT = TypeVar("WeightsT")
WeightsIn = TypeVar("WeightsIn", contravariant=True)
InfoT = TypeVar("InfoT")


@dataclass(frozen=True, slots=True)
class Resident(Generic[InfoT]):
    """Weights in the bank."""

    slot: int
    info: InfoT
    """Result of `describe` for them."""
    pages: tuple[int, ...] = ()
    """Pages of what differs in size from key to key."""


class BankStorage(Protocol[WeightsIn]):
    """Storage of resident weights: R slots, and pages, in arrays that a graph reads."""

    def write(self, resident: Resident[Any], weights: WeightsIn) -> None:
        """Write weights into a slot and pages that no run holds; threads write different ones."""
        ...


StorageT = TypeVar("StorageT", bound=BankStorage[Any])


@dataclass(slots=True, eq=False)
class _Entry(Generic[InfoT]):
    slot: int
    pages: tuple[int, ...]
    resident: Resident[InfoT] | None = None
    """Set once slot and pages are written."""
    users: int = 0


class Bank(Generic[WeightsT, InfoT, StorageT]):
    """Weights by key (language, voice) in R slots, with least-recently-used eviction.

    A key takes one slot, and the pages of its size if there are any, and keeps them while it is
    held. Each key is loaded by one thread while others wait for it; callers that wait for room are
    served first come, first served. Methods are thread-safe.
    """

    def __init__(
        self,
        load: Callable[[str], WeightsT],
        describe: Callable[[WeightsT], InfoT],
        storage: StorageT,
        *,
        slots: int,
        pages: int = 0,
        sizes: Sequence[int] = (),
        page_count: Callable[[str], int] = lambda _: 0,
        wait_seconds: float = 60.0,
    ) -> None:
        """Start empty.

        Args:
            load: Function that reads the weights of a key.
            describe: Function that returns what callers need of the weights (a vocabulary).
            storage: Memory of the slots.
            slots: R: keys that can be resident at once.
            pages: Pages that can be taken at once, by their numbers from 1 on.
            sizes: Pages of every key, or more, largest first.
            page_count: Function that returns the pages of a key.
            wait_seconds: Seconds that `acquire` waits for room.
        """
        if slots < 1:
            raise ValueError(f"a bank needs at least one slot, got {slots}")
        self.storage = storage
        self.slots = slots
        """R: keys that can be resident at once."""
        self.pages = pages
        """Pages that can be taken at once."""
        self._sizes = tuple(sizes)
        self._page_count = page_count
        self._load = load
        self._describe = describe
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._entries: OrderedDict[str, _Entry[InfoT]] = OrderedDict()  # LRU first
        self._queue: deque[object] = deque()
        """Tickets of the callers that wait for room, in their order."""
        self._free_all()

    def __repr__(self) -> str:
        return f"Bank({len(self._entries)} of {self.slots} slots)"

    @property
    def at_once(self) -> int:
        """Keys that can be resident at once, whichever they are."""
        fitting = itertools.takewhile(
            lambda pages: pages <= self.pages, itertools.accumulate(self._sizes)
        )
        return min(self.slots, sum(1 for _ in fitting)) if self._sizes else self.slots

    @property
    def keys(self) -> tuple[str, ...]:
        """Resident keys, least recently used first."""
        with self._changed:
            return tuple(self._entries)

    @contextlib.contextmanager
    def acquire(self, keys: Collection[str]) -> Iterator[dict[str, Resident[InfoT]]]:
        """Hold keys in the bank, loading those that are not resident.

        All room is taken at once, so two callers never hold part of what the other needs. A
        thread that holds keys should not acquire others: callers in the queue may wait for it.

        Raises:
            BackendError: the bank has no room for all keys, or none came free in time.
            LanguageError, BundleError: the weights of a key cannot be loaded.
        """
        wanted = {key: self._page_count(key) for key in sorted(set(keys))}
        if len(wanted) > self.slots or sum(wanted.values()) > self.pages:
            raise BackendError(
                f"{len(wanted)} languages at once do not fit in {self._room}: "
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

    @property
    def _room(self) -> str:
        pages = f" with {self.pages} pages of tokens" if self.pages else ""
        return f"{self.slots} adapter slots{pages}"

    def shrink(self, keys: Collection[str], resize: Callable[[int, int], None]) -> bool:
        """Halve slots and pages, once no key is held, and forget all keys.

        Args:
            keys: Keys that must fit at once; each other one fits alone.
            resize: Function that gives the storage its new number of slots and of pages.

        Returns:
            Whether there are fewer now; false if there cannot be, or keys stayed held.
        """
        least = max(sum(map(self._page_count, keys)), *self._sizes[:1], 0)
        ticket = object()
        with self._changed:
            slots = max(1, len(keys), self.slots // 2)
            pages = max(least, self.pages // 2)
            if slots >= self.slots and pages >= self.pages:
                return False
            slots, pages = min(slots, self.slots), min(pages, self.pages)
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
                resize(slots, pages)
                self.slots, self.pages = slots, pages
                self._free_all()
                return True
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def prefetch(self, keys: Iterable[str]) -> None:
        """Load keys into free or idle room ahead of their use, without waiting for it.

        Raises:
            LanguageError, BundleError: the weights of a key cannot be loaded.
        """
        ahead = list(dict.fromkeys(keys))
        for key in ahead:
            wanted = {key: self._page_count(key)}
            with self._changed:
                if self._queue or key in self._entries or not self._evict(wanted, keep=ahead):
                    continue
                entries, fresh = self._hold(wanted)
            if self._fill(entries, fresh) is not None:
                self._release(entries.values())

    def _reserve(
        self, wanted: Mapping[str, int], deadline: float
    ) -> tuple[dict[str, _Entry[InfoT]], list[str]]:
        """Wait for room for `wanted`, keys and their numbers of pages.

        Return the held entries and the keys to load.
        """
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                if self._changed.wait_for(
                    lambda: self._queue[0] is ticket and self._evict(wanted, keep=wanted),
                    max(0.0, deadline - time.monotonic()),
                ):
                    return self._hold(wanted)
                raise BackendError(
                    f"all {self._room} were in use for {self._wait_seconds:g} s: "
                    "use fewer languages at once, or allow more memory (adapter_cache_bytes)"
                )
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _evict(self, wanted: Mapping[str, int], *, keep: Collection[str]) -> bool:
        """Evict least recently used keys until `wanted` fit; none if too few are idle."""
        missing = [key for key in wanted if key not in self._entries]
        slots = len(missing) - len(self._free_slots)
        pages = sum(wanted[key] for key in missing) - len(self._free_pages)
        evicted = []
        for key, entry in self._entries.items():
            if slots <= 0 and pages <= 0:
                break
            if entry.users == 0 and key not in keep:
                evicted.append(key)
                slots -= 1
                pages -= len(entry.pages)
        if slots > 0 or pages > 0:
            return False
        for key in evicted:
            self._drop(key)
        return True

    def _free_all(self) -> None:
        self._free_slots = list(range(self.slots))  # heaps: the lowest numbers are taken first
        self._free_pages = list(range(1, self.pages + 1))

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key)
        heapq.heappush(self._free_slots, entry.slot)
        for page in entry.pages:
            heapq.heappush(self._free_pages, page)

    def _hold(self, wanted: Mapping[str, int]) -> tuple[dict[str, _Entry[InfoT]], list[str]]:
        fresh = [key for key in wanted if key not in self._entries]
        for key in fresh:
            pages = tuple(heapq.heappop(self._free_pages) for _ in range(wanted[key]))
            self._entries[key] = _Entry(heapq.heappop(self._free_slots), pages)
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
                resident = Resident(entry.slot, self._describe(weights), entry.pages)
                self.storage.write(resident, weights)
                with self._changed:
                    entry.resident = resident
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
        """Release entries after a failure; keys that were not written lose their room."""
        with self._changed:
            for key in fresh:
                if entries[key].resident is None:
                    self._drop(key)
        self._release(entries.values())

    def _release(self, entries: Iterable[_Entry[InfoT]]) -> None:
        with self._changed:
            for entry in entries:
                entry.users -= 1
            self._changed.notify_all()
