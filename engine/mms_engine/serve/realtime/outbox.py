"""Events of a realtime session in their order: numbered, sent, and kept to be sent again."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from mms_engine.serve.errors import invalid
from mms_engine.serve.realtime.item import Fields
from mms_engine.serve.sessions.registry import unknown_session

_MOST_UNSENT = 100
"""Events that wait for the client, beyond which it is not read."""
_MOST_KEPT = 500
"""Events that can be sent again."""


class Outbox:
    """Events of a session. Their ids are counted, so that an id is a place among them."""

    def __init__(self, identity: str, *, is_resumable: bool) -> None:
        """Begin without events.

        Args:
            identity: Id of the session.
            is_resumable: Whether events are kept after they were sent.
        """
        self.count = 0
        """Number of the last event."""
        self._sent = 0
        """Number of the last event that was sent."""
        self._kept = _MOST_KEPT if is_resumable else 0
        self._prefix = f"event_{identity[:12]}_"
        self._events: deque[Fields] = deque()
        self._sending = asyncio.Lock()
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()
        """Set at each event that was sent."""

    @property
    def events(self) -> list[Fields]:
        """Last events."""
        return list(self._events)

    def append(self, event: Fields) -> Fields:
        """Number an event, and send it after those before it; return it with its id."""
        self.count += 1
        numbered = {"type": event["type"], "event_id": f"{self._prefix}{self.count}", **event}
        self._events.append(numbered)
        self._changed.set()
        return numbered

    def restore(self, count: int, events: Sequence[Fields]) -> None:
        """Go on after the last events of another server."""
        self.count = self._sent = count
        self._events = deque(events)

    def rewind(self, after: str) -> None:
        """Send again what follows an event.

        Where that is one of another server which this one never learned of, the events go on
        after the last of its own.

        Args:
            after: Id of the event; empty for the start.

        Raises:
            ApiError: 400 or 404; it is no id of the session, or what follows is not kept.
        """
        number = after.removeprefix(self._prefix) if after else "0"
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise invalid(
                f"after is {after[:60]!r}, not the id of an event of the session", "after"
            )
        if int(number) < self.count - len(self._events):
            raise unknown_session("events that the client lacks are not kept")
        self._sent = min(int(number), self.count)

    def resumed(self, event: Fields) -> Fields:
        """Return an event in the place of the last one that was sent."""
        return {"type": event["type"], "event_id": f"{self._prefix}{self._sent}", **event}

    async def deliver(self, send: Callable[[Fields], Awaitable[None]]) -> None:
        """Send the events, until cancelled; raises what `send` raises."""
        while True:
            await self.send_rest(send)
            self._changed.clear()
            await self._changed.wait()

    async def send_rest(self, send: Callable[[Fields], Awaitable[None]]) -> None:
        """Send the events so far."""
        async with self._sending:
            while self._sent < self.count:
                event = self._events[self._sent - self.count]
                self._sent += 1
                await send(event)
                while len(self._events) > max(self._kept, self.count - self._sent):
                    self._events.popleft()
                self._moved.set()

    async def has_room(self) -> None:
        """Wait while too many events wait for the client."""
        while self.count - self._sent > _MOST_UNSENT:
            self._moved.clear()
            await self._moved.wait()
