"""Realtime session with its stream and its events, which a client may resume."""

import asyncio
from collections import deque
from typing import Any, Self

import msgspec
from msgspec import Struct

from mms_engine.asr.streaming.events import Event, event_fields, read_event
from mms_engine.serve.live.stream import LiveStream, SavedStream
from mms_engine.serve.realtime.configuration import Configuration
from mms_engine.serve.realtime.item import Fields
from mms_engine.serve.realtime.outbox import Outbox
from mms_engine.serve.realtime.plan import Plan, plan
from mms_engine.serve.realtime.session import Output, SavedSession, Session
from mms_engine.serve.sessions.registry import Resumable, owner_of
from mms_engine.serve.sockets import Socket

PREFIX = "sess_"
"""Beginning of the ids of sessions, as clients see them."""


class RealtimeSession(Resumable):
    """A session, the stream that it uses at the time, and its events."""

    def __init__(
        self,
        owner: str,
        configuration: Configuration,
        found: Plan,
        *,
        identity: str = "",
        is_resumable: bool,
    ) -> None:
        """Begin a session, or continue that of an id.

        Args:
            owner: Name of the client's key; empty on an open server.
            configuration: Configuration.
            found: Its plan.
            identity: Id of a session that another server had.
            is_resumable: Whether the session outlives its connection.
        """
        super().__init__(owner, identity, is_resumable=is_resumable)
        self.received = 0
        """Messages of the client."""
        self.handling = asyncio.Lock()
        """Held while a message is carried out."""
        self.todo: deque[Output] = deque()
        """Rest of the work for the last message, if its connection broke meanwhile."""
        self.stream: LiveStream | None = None
        self.is_finishing = False
        """Whether the end of the stream was requested."""
        self._ids = 0
        self.outbox = Outbox(self.identity, is_resumable=is_resumable)
        self.protocol = Session(configuration, found, self._new_id)

    def _new_id(self, prefix: str) -> str:
        """Return an id that another server, which continues the session, would give too."""
        if prefix == "sess":
            return PREFIX + self.identity
        self._ids += 1
        return f"{prefix}_{self.identity[:12]}_{self._ids}"

    @property
    def progress(self) -> int:
        """Messages received."""
        return self.received

    async def saved(self) -> bytes | None:
        """Return the state between two messages; `None` if one is half carried out."""
        async with self.handling:
            live, stream = self.stream, None
            if live is not None:
                saved = await live.save()
                unread = saved.unread[live.settled - saved.settled :]  # others were read meanwhile
                fields = list(map(event_fields, unread))
                stream = _Stream(saved.state, saved.position, live.settled, fields)
            if self.todo or self.stream is not live:
                return None
            record = _Record(
                self.protocol.save(),
                stream,
                self.received,
                self._ids,
                self.outbox.count,
                self.outbox.events,
            )
            return msgspec.msgpack.encode(record)

    @classmethod
    async def restore(cls, socket: Socket, identity: str, content: bytes) -> Self:
        """Continue the session of another server, for a connection; see `Sessions.resume`."""
        record = msgspec.msgpack.decode(content, type=_Record)
        service, saved = socket.service, record.session
        found = await asyncio.to_thread(plan, saved.configuration, service.models)
        owner = owner_of(socket.call)
        session = cls(owner, saved.configuration, found, identity=identity, is_resumable=True)
        session.received, session._ids = record.received, record.ids
        session.outbox.restore(record.count, record.events)
        session.protocol.restore(saved)
        if saved.is_streaming != (record.stream is not None):
            raise ValueError("the state of the stream is missing")
        if record.stream is not None:
            await session._restore_stream(socket, found, record.stream)
        return session

    async def _restore_stream(self, socket: Socket, found: Plan, stream: "_Stream") -> None:
        events = _events(stream.unread)
        state = SavedStream(stream.state, stream.position, stream.settled)
        self.stream = await socket.service.live.restore(
            socket.client, found.model, found.language or "", state
        )
        for event in events:
            for sent in self.protocol.event(event, self.stream.warnings):
                self.outbox.append(sent)

    def cancel(self) -> None:
        """End the stream."""
        if self.stream is not None:
            self.stream.cancel()


def _events(several: list[dict[str, Any]]) -> list[Event]:
    found = [read_event(fields) for fields in several]
    if None in found:
        raise ValueError("an event is none of a stream")
    return [event for event in found if event is not None]


class _Stream(Struct):
    state: bytes
    position: int
    settled: int
    unread: list[dict[str, Any]]
    """Events before the position that are not in the session."""


class _Record(Struct, tag="realtime"):
    session: SavedSession
    stream: _Stream | None
    received: int
    ids: int
    """Number of the last id."""
    count: int
    """Number of the last event."""
    events: list[Fields]
