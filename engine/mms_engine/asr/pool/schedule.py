"""Schedule of a pool: streams that have work, the most urgent first."""

import threading
import time
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

HEAD_START = 10.0
"""Seconds of waiting that one level of priority is worth; finite, so that no stream starves."""


class Schedulable(Protocol):
    """Properties of a stream that determine its urgency."""

    @property
    def priority(self) -> int:
        """Priority; a step of higher priority runs first."""
        ...

    @property
    def chunk_seconds(self) -> float:
        """Time within which a step should be done once its audio has arrived."""
        ...


StreamT = TypeVar("StreamT", bound=Schedulable)


class Schedule(Generic[StreamT]):
    """Queue of streams that may have a step. Thread-safe.

    A stream that was taken is not handed out again before `done`. Idle streams are not queued.
    """

    def __init__(self, takers: int = 1) -> None:
        """Create an empty schedule that divides its streams among `takers` threads."""
        self._takers = takers
        self._waiting: dict[StreamT, float] = {}
        """Time of the first `wake` since each stream was handed out."""
        self._busy: set[StreamT] = set()
        self._again: dict[StreamT, float] = {}
        """Wake times of busy streams, as in `_waiting`."""
        self._changed = threading.Condition()
        self._is_closed = False

    def wake(self, stream: StreamT) -> None:
        """Queue a stream that may have a step."""
        with self._changed:
            if stream in self._busy:
                self._again.setdefault(stream, time.monotonic())
            else:
                self._waiting.setdefault(stream, time.monotonic())
                self._changed.notify()

    def forget(self, stream: StreamT) -> None:
        """Remove a stream that ended."""
        with self._changed:
            self._waiting.pop(stream, None)
            self._again.pop(stream, None)
            self._busy.discard(stream)

    def take(self, most: int) -> list[StreamT] | None:
        """Wait for streams and return the most urgent, at most `most`; `None` once closed."""
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
        """Return streams that were taken; those woken meanwhile are queued again."""
        with self._changed:
            for stream in streams:
                self._busy.discard(stream)
                if stream in self._again:
                    self._waiting[stream] = self._again.pop(stream)
            self._changed.notify(self._takers)

    def _urgency(self, stream: StreamT) -> float:
        """Return the deadline of a stream's step less its head start."""
        return self._waiting[stream] + stream.chunk_seconds - HEAD_START * stream.priority

    def close(self) -> None:
        """Make every call of `take` return `None`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
