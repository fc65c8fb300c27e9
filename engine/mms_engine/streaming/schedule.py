"""Which streams a pool works on next."""

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms_engine.streaming.member import PooledStream


class Schedule:
    """Streams that may have a step, the most urgent first. For several threads at once.

    A stream that is being worked on is not given out again until it is woken after that; one that
    sends nothing is not here, so nobody waits for it.
    """

    def __init__(self) -> None:
        self._awake: dict[PooledStream, float] = {}
        """When each was woken first since it was given out."""
        self._changed = threading.Condition()
        self._is_closed = False

    def wake(self, member: "PooledStream") -> None:
        """Say that a stream may have a step."""
        with self._changed:
            self._awake.setdefault(member, time.monotonic())
            self._changed.notify()

    def forget(self, member: "PooledStream") -> None:
        """Say that a stream has ended."""
        with self._changed:
            self._awake.pop(member, None)

    def take(self, most: int) -> "list[PooledStream] | None":
        """Wait for streams and return up to `most`; `None` once the schedule is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._awake or self._is_closed)
            if self._is_closed:
                return None
            taken = sorted(self._awake, key=self._urgency)[:most]
            for member in taken:
                del self._awake[member]
            return taken

    def _urgency(self, member: "PooledStream") -> tuple[int, float]:
        """The smaller, the sooner: by priority, then by when a step should have been done."""
        return -member.priority, self._awake[member] + member.chunk_seconds

    def close(self) -> None:
        """Let whoever waits go."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
