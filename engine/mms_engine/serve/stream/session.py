"""Session of `/v1/stream`: a live stream, and its events that can be sent again."""

from collections import deque
from typing import Any, Self

import msgspec

from mms_engine.asr.streaming import Event, Partial
from mms_engine.asr.streaming.events import event_fields
from mms_engine.serve.live.stream import LiveStream, SavedStream
from mms_engine.serve.models import SpeechModel
from mms_engine.serve.sessions.registry import Resumable, owner_of, unknown_session
from mms_engine.serve.sockets import Socket

_MOST_EVENTS = 500
"""Events of a session that can be sent again."""
Numbered = tuple[int, dict[str, Any]]
"""An event that is not partial, with its number from 1."""


class Session(Resumable):
    """A live stream that a client may resume after its connection broke."""

    def __init__(
        self,
        owner: str,
        model: SpeechModel,
        language: str,
        live: LiveStream,
        *,
        identity: str = "",
        is_resumable: bool,
    ) -> None:
        """Begin a session, or continue that of an id."""
        super().__init__(owner, identity, is_resumable=is_resumable)
        self.model = model
        self.language = language
        """Language as the client gave it."""
        self.live = live
        self.log: deque[Numbered] = deque(maxlen=_MOST_EVENTS)
        self.is_finished = False
        """Whether the client has requested the end."""

    def note(self, event: Event) -> dict[str, Any]:
        """Return the message of an event that was just read, and keep it."""
        fields = event_fields(event)
        if not isinstance(event, Partial):
            self.log.append((self.live.settled, fields))
        return fields

    def missed(self, after: int) -> list[dict[str, Any]]:
        """Return the messages behind a number.

        Raises:
            ApiError: 404; they are not kept.
        """
        if self.log and after < self.log[0][0] - 1:
            raise unknown_session("events that the client lacks are not kept")
        return [fields for number, fields in self.log if number > after]

    @property
    def progress(self) -> int:
        """Position of the stream."""
        return self.live.position

    async def saved(self) -> bytes | None:
        """Return the state; `None` once the client has requested the end."""
        if self.is_finished:
            return None
        saved = await self.live.save()
        log = [one for one in self.log if one[0] <= saved.settled]
        log += [(saved.settled + i, event_fields(event)) for i, event in enumerate(saved.unread, 1)]
        record = _Record(
            self.model.id,
            self.language,
            saved.position,
            saved.settled + len(saved.unread),
            log[-_MOST_EVENTS:],
            saved.state,
        )
        return msgspec.msgpack.encode(record)

    @classmethod
    async def restore(cls, socket: Socket, identity: str, content: bytes) -> Self:
        """Continue the session of another server, for a connection; see `Sessions.resume`."""
        record = msgspec.msgpack.decode(content, type=_Record)
        service = socket.service
        model = service.models.find(record.model)
        saved = SavedStream(record.state, record.position, record.settled)
        live = await service.live.restore(socket.client, model, record.language, saved)
        owner, language = owner_of(socket.call), record.language
        session = cls(owner, model, language, live, identity=identity, is_resumable=True)
        session.log.extend(record.log)
        return session

    def cancel(self) -> None:
        """End the stream."""
        self.live.cancel()


class _Record(msgspec.Struct, tag="stream"):
    model: str
    language: str
    position: int
    settled: int
    """Number of the last event in the log."""
    log: list[Numbered]
    state: bytes
