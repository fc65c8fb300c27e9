"""Which streams a pool works on next."""

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms_engine.streaming.member import PooledStream

HEAD_START = 10.0
"""Seconds by which a step of the next higher priority goes first: whoever has waited so much
longer has its turn all the same, so that nobody waits for ever."""


class Schedule:
    """Streams that may have a step, the most urgent first. For several threads at once.

    A stream that is being worked on is not given out again before `done`; one that sends nothing
    is not here, so nobody waits for it.
    """

    def __init__(self, takers: int = 1) -> None:
        """Serve so many threads that `take`, all of which shall have work."""
        self._takers = takers
        self._awake: dict[PooledStream, float] = {}
        """When each was woken first since it was given out."""
        self._busy: set[PooledStream] = set()
        self._again: dict[PooledStream, float] = {}
        """As `_awake`, those that are being worked on."""
        self._changed = threading.Condition()
        self._is_closed = False

    def wake(self, member: "PooledStream") -> None:
        """Say that a stream may have a step."""
        with self._changed:
            if member in self._busy:
                self._again.setdefault(member, time.monotonic())
            else:
                self._awake.setdefault(member, time.monotonic())
                self._changed.notify()

    def forget(self, member: "PooledStream") -> None:
        """Say that a stream has ended."""
        with self._changed:
            self._awake.pop(member, None)
            self._again.pop(member, None)
            self._busy.discard(member)

    def take(self, most: int) -> "list[PooledStream] | None":
        """Wait for streams and return up to `most`; `None` once the schedule is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._awake or self._is_closed)
            if self._is_closed:
                return None
            share = min(most, -(-len(self._awake) // self._takers))
            taken = sorted(self._awake, key=self._urgency)[:share]
            for member in taken:
                del self._awake[member]
            self._busy.update(taken)
            return taken

    def done(self, members: "Iterable[PooledStream]") -> None:
        """Say that streams which were taken are no longer worked on."""
        with self._changed:
            for member in members:
                self._busy.discard(member)
                if member in self._again:
                    self._awake[member] = self._again.pop(member)
            self._changed.notify(self._takers)

    def _urgency(self, member: "PooledStream") -> float:
        """The smaller, the sooner: when a step should have been done, by priority a head start."""
        return self._awake[member] + member.chunk_seconds - HEAD_START * member.priority

    def close(self) -> None:
        """Let whoever waits go."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
