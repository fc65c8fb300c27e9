"""Sessions of live streams that outlive a connection, in memory and in a shared folder."""

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from typing import Any

import msgspec

from mms_engine.asr.streaming import Event, Partial
from mms_engine.asr.streaming.events import event_fields
from mms_engine.errors import MmsError
from mms_engine.serve.call import Call
from mms_engine.serve.errors import ApiError
from mms_engine.serve.live.stream import LiveStream, SavedStream
from mms_engine.serve.models import SpeechModel
from mms_engine.serve.service import Service
from mms_engine.serve.sockets import POLICY, Socket
from mms_engine.serve.stream.store import ID, SessionStore

logger = logging.getLogger(__name__)

_FORMAT = 1
_MOST_KEPT = 256
"""Sessions without a connection; the oldest is dropped for another."""
_MOST_EVENTS = 500
"""Events of a session that can be sent again."""
_SAVE_SECONDS = 2.0
_RELEASE_SECONDS = 5.0
Numbered = tuple[int, dict[str, Any]]
"""An event that is not partial, with its number from 1."""


class Session:
    """A live stream that a client may resume after its connection broke."""

    def __init__(
        self, owner: str, model: SpeechModel, language: str, live: LiveStream, identity: str = ""
    ) -> None:
        """Begin a session, or continue that of an id."""
        self.id = identity or secrets.token_hex(16)
        self.owner = owner
        self.model = model
        self.language = language
        """Language as the client gave it."""
        self.live = live
        self.log: deque[Numbered] = deque(maxlen=_MOST_EVENTS)
        self.generation = 0
        """Number of servers that had the session before."""
        self.is_finished = False
        """Whether the client has requested the end."""
        self.socket: Socket | None = None
        self.is_taken = False
        """Whether another connection takes the session over."""
        self.released = asyncio.Event()
        """Set while no connection uses the session."""
        self.expiry: asyncio.TimerHandle | None = None

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
            raise _unknown("events that the client lacks are not kept")
        return [fields for number, fields in self.log if number > after]


class Sessions:
    """The sessions of a server. Used on the event loop."""

    def __init__(self, service: Service) -> None:
        """Begin without sessions."""
        self._service = service
        self._sessions: dict[str, Session] = {}
        folder = service.config.session_store
        self._store = None if folder is None else SessionStore(folder)

    @property
    def is_shared(self) -> bool:
        """Whether sessions are kept for other servers too."""
        return self._store is not None

    def add(self, session: Session) -> None:
        """Keep a session from now on."""
        self._sessions[session.id] = session

    async def resume(self, identity: str, socket: Socket) -> Session:
        """Return the session of an id for a new connection; another one that uses it is ended.

        Raises:
            ApiError: 404; there is none, or it is of another client.
        """
        if not ID.fullmatch(identity):
            raise _unknown("it is not an id")
        owner = owner_of(socket.call)
        session = self._sessions.get(identity)
        if session is None:
            session = await self._restore(identity, owner, socket.client)
        elif session.owner != owner:
            raise _unknown("there is none, or no longer")
        elif session.socket is not None:
            await self._take_over(session)
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        return session

    async def _take_over(self, session: Session) -> None:
        """End the connection of a session, of which the server may not know that it broke."""
        session.is_taken = True
        if session.socket is not None:
            session.socket.end(POLICY, "the session was resumed by another connection")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS):
                await session.released.wait()

    def attach(self, session: Session, socket: Socket) -> None:
        """Use a session on a connection; `release` must follow."""
        session.is_taken = False
        session.socket = socket
        session.released.clear()

    def release(self, session: Session, *, is_kept: bool) -> None:
        """End the use of a session by its connection, and the session unless it is kept."""
        session.socket = None
        session.released.set()
        if session.is_taken:
            return
        if is_kept:
            self._detach(session)
        else:
            self.drop(session)

    def _detach(self, session: Session) -> None:
        """Keep a session without a connection, for a while."""
        kept = [one for one in self._sessions.values() if one.expiry is not None]
        if len(kept) >= _MOST_KEPT:
            self._expire(kept[0])
        seconds = self._service.config.limits.session_seconds
        session.expiry = asyncio.get_running_loop().call_later(seconds, self._expire, session)

    def _expire(self, session: Session) -> None:
        logger.info("session of %s expired", session.owner or "an open server")
        self.drop(session)

    async def hand_over(self, session: Session) -> None:
        """Save a session for another server, and leave it to that."""
        await self.save(session)
        self._sessions.pop(session.id, None)

    def drop(self, session: Session) -> None:
        """End a session."""
        if session.expiry is not None:
            session.expiry.cancel()
        session.live.cancel()
        if self._sessions.pop(session.id, None) is not None and self._store is not None:
            self._store.delete(session.id, session.generation)

    async def save_often(self, session: Session) -> None:
        """Save a session every few seconds, until cancelled."""
        position = -1
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            if session.live.position != position and not session.is_finished:
                position = session.live.position
                await self.save(session)

    async def save(self, session: Session) -> None:
        """Save a session for other servers, if there are any."""
        if self._store is None or session.is_finished:
            return
        try:
            saved = await session.live.save()
            content = _pack(session, saved)
            await asyncio.to_thread(self._store.write, session.id, session.generation, content)
        except (MmsError, OSError) as error:
            logger.warning("a session could not be saved: %s", error)

    async def _restore(self, identity: str, owner: str, client: str) -> Session:
        if self._store is None:
            raise _unknown("there is none, or no longer")
        seconds = self._service.config.limits.session_seconds
        found = await asyncio.to_thread(self._store.take, identity, seconds)
        if found is None:
            raise _unknown("there is none, or no longer")
        generation, content = found
        record = _unpack(content)
        if record.owner != owner:
            await asyncio.to_thread(self._store.write, identity, generation, content)
            raise _unknown("there is none, or no longer")
        model = self._service.models.find(record.model)
        saved = SavedStream(record.state, record.position, record.settled)
        live = await self._service.live.restore(client, model, record.language, saved)
        session = Session(owner, model, record.language, live, identity)
        session.generation = generation + 1
        session.log.extend(record.log)
        self.add(session)
        return session


def owner_of(call: Call) -> str:
    """Return the name of a client's key; empty on an open server."""
    return "" if call.key is None else call.key.name


class _Record(msgspec.Struct):
    format: int
    owner: str
    model: str
    language: str
    position: int
    settled: int
    """Number of the last event in the log."""
    log: list[Numbered]
    state: bytes


def _pack(session: Session, saved: SavedStream) -> bytes:
    log = [one for one in session.log if one[0] <= saved.settled]
    log += [(saved.settled + i, event_fields(event)) for i, event in enumerate(saved.unread, 1)]
    record = _Record(
        _FORMAT,
        session.owner,
        session.model.id,
        session.language,
        saved.position,
        saved.settled + len(saved.unread),
        log[-_MOST_EVENTS:],
        saved.state,
    )
    return msgspec.msgpack.encode(record)


def _unpack(content: bytes) -> _Record:
    try:
        record = msgspec.msgpack.decode(content, type=_Record)
    except (msgspec.MsgspecError, ValueError) as error:
        logger.warning("a saved session is damaged: %s", error)
        raise _unknown("it is damaged") from error
    if record.format != _FORMAT:
        raise _unknown("it was saved by another release")
    return record


def _unknown(reason: str) -> ApiError:
    message = f"the session cannot be resumed: {reason}"
    return ApiError(404, message, code="session_not_found", param="resume")
