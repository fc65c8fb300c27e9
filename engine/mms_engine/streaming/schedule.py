"""Which streams a pool works on next."""

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms_engine.streaming.member import PooledStream


class Schedule:
    """Streams that may have a step, the most urgent first. For several threads at once.

    A stream that is being worked on is not given out again until it is woken after that; one that
    sends nothing is not here, so nobody waits for it.
    """

    def __init__(self) -> None:
        self._awake: set[PooledStream] = set()
        self._changed = threading.Condition()
        self._is_closed = False

    def wake(self, member: "PooledStream") -> None:
        """Say that a stream may have a step."""
        with self._changed:
            self._awake.add(member)
            self._changed.notify()

    def forget(self, member: "PooledStream") -> None:
        """Say that a stream has ended."""
        with self._changed:
            self._awake.discard(member)

    def take(self, most: int) -> "list[PooledStream] | None":
        """Wait for streams and return up to `most`; `None` once the schedule is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._awake or self._is_closed)
            if self._is_closed:
                return None
            urgent = sorted(self._awake, key=lambda member: (-member.priority, member.deadline))
            taken = urgent[:most]
            self._awake.difference_update(taken)
            return taken

    def close(self) -> None:
        """Let whoever waits go."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
