"""Schedule of a pool: the streams that have work, the most urgent first."""

import threading
import time
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

HEAD_START = 10.0
"""Seconds that one step of priority is worth: a stream that has waited that much longer runs first
in any case, so that none waits for ever."""


class Schedulable(Protocol):
    """Properties of a stream that decide its urgency."""

    @property
    def priority(self) -> int:
        """The higher, the sooner."""
        ...

    @property
    def chunk_seconds(self) -> float:
        """Time within which a step should be done once its audio has arrived."""
        ...


StreamT = TypeVar("StreamT", bound=Schedulable)


class Schedule(Generic[StreamT]):
    """Queue of streams that may have a step. Thread-safe.

    A stream that a worker holds is not handed out again before `done`; idle streams are not here,
    so nobody waits for them.
    """

    def __init__(self, takers: int = 1) -> None:
        """Serve `takers` threads that call `take`, all of which get a share of the work."""
        self._takers = takers
        self._waiting: dict[StreamT, float] = {}
        """Time of the first `wake` since each was handed out."""
        self._busy: set[StreamT] = set()
        self._again: dict[StreamT, float] = {}
        """As `_waiting`, for streams that a worker holds."""
        self._changed = threading.Condition()
        self._is_closed = False

    def wake(self, stream: StreamT) -> None:
        """Add a stream that may have a step."""
        with self._changed:
            if stream in self._busy:
                self._again.setdefault(stream, time.monotonic())
            else:
                self._waiting.setdefault(stream, time.monotonic())
                self._changed.notify()

    def forget(self, stream: StreamT) -> None:
        """Remove a stream that has ended."""
        with self._changed:
            self._waiting.pop(stream, None)
            self._again.pop(stream, None)
            self._busy.discard(stream)

    def take(self, most: int) -> list[StreamT] | None:
        """Wait for streams and return up to `most`; `None` once the schedule is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if self._is_closed:
                return None
            share = min(most, -(-len(self._waiting) // self._takers))
            taken = sorted(self._waiting, key=self._urgency)[:share]
            for stream in taken:
                del self._waiting[stream]
            self._busy.update(taken)
            return taken

    def done(self, streams: Iterable[StreamT]) -> None:
        """Return streams that were taken; those woken meanwhile wait again."""
        with self._changed:
            for stream in streams:
                self._busy.discard(stream)
                if stream in self._again:
                    self._waiting[stream] = self._again.pop(stream)
            self._changed.notify(self._takers)

    def _urgency(self, stream: StreamT) -> float:
        """Return the deadline of the stream's step less its head start; the smaller, the sooner."""
        return self._waiting[stream] + stream.chunk_seconds - HEAD_START * stream.priority

    def close(self) -> None:
        """Release all threads that wait in `take`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
