"""Registry of the sessions that clients may resume, in memory and in a shared folder."""

import asyncio
import contextlib
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import msgspec

from mms_engine.errors import MmsError
from mms_engine.serve.call import Call, ClientLeft
from mms_engine.serve.errors import ApiError
from mms_engine.serve.service import Service
from mms_engine.serve.sessions.store import ID, SessionStore
from mms_engine.serve.sockets import POLICY, Socket

logger = logging.getLogger(__name__)

_FORMAT = 2
_MOST_KEPT = 256
"""Sessions without a connection; the oldest is dropped for another."""
_SAVE_SECONDS = 2.0
_RELEASE_SECONDS = 5.0


class Resumable(ABC):
    """A session that a client may resume after its connection broke."""

    def __init__(self, owner: str, identity: str = "", *, is_resumable: bool) -> None:
        """Begin a session, or continue that of an id.

        Args:
            owner: Name of the client's key; empty on an open server.
            identity: Id of a session that another server had.
            is_resumable: Whether the session outlives its connection.
        """
        self.is_resumable = is_resumable
        self.identity = identity or secrets.token_hex(16)
        self.owner = owner
        self.generation = 0
        """Number of servers that had the session before."""
        self.socket: Socket | None = None
        self.is_taken = False
        """Whether another connection takes the session over."""
        self.released = asyncio.Event()
        """Set while no connection uses the session."""
        self.expiry: asyncio.TimerHandle | None = None

    @property
    @abstractmethod
    def progress(self) -> int:
        """Number that changes with what there is to save."""

    @abstractmethod
    async def saved(self) -> bytes | None:
        """Return the state for another server; `None` where the last one is still right.

        Raises:
            MmsError: why the engine cannot save it.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Free what the session holds."""


_Session = TypeVar("_Session", bound=Resumable)
Restore = Callable[[str, bytes], Awaitable[_Session]]
"""Returns a session of an id from the state that `Resumable.saved` returned.

Raises:
    ApiError: 400, 404, 429 or 503; it cannot be continued.
    ValueError: the state is damaged.
"""


class Sessions:
    """The sessions of a server. Used on the event loop."""

    def __init__(self, service: Service) -> None:
        """Begin without sessions."""
        self._service = service
        self._sessions: dict[str, Resumable] = {}
        folder = service.config.session_store
        self._store = None if folder is None else SessionStore(folder)
        service.gauges["sessions_kept"] = lambda: len(self._kept)

    @property
    def is_shared(self) -> bool:
        """Whether sessions are kept for other servers too."""
        return self._store is not None

    async def resume(
        self, identity: str, socket: Socket, kind: type[_Session], restore: Restore[_Session]
    ) -> _Session:
        """Return the session of an id for a new connection; another one that uses it is ended.

        Args:
            identity: Id.
            socket: New connection; `used` must follow at once.
            kind: Class that the session must have.
            restore: Continues a session of another server.

        Raises:
            ApiError: 404; there is none, or it is of another client. Others as for `restore`.
        """
        if not ID.fullmatch(identity):
            raise unknown_session("it is not an id")
        owner = owner_of(socket.call)
        session = self._sessions.get(identity)
        if session is None:
            session = await self._restore(identity, owner, restore)
        if not isinstance(session, kind) or session.owner != owner:
            raise unknown_session()
        while session.socket is not None:
            await self._take_over(session)
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        return session

    async def _take_over(self, session: Resumable) -> None:
        """End the connection of a session, of which the server may not know that it broke."""
        session.is_taken = True
        if session.socket is not None:
            session.socket.end(POLICY, "the session was resumed by another connection")
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await session.released.wait()
        except TimeoutError:
            message = "another connection still uses the session"
            raise ApiError(503, message, code="session_in_use", retry_after=1) from None

    @contextlib.asynccontextmanager
    async def used(self, session: Resumable, socket: Socket) -> AsyncIterator[None]:
        """Use a session on a connection.

        Where the connection breaks, and after the work on it, a resumable session is kept for a
        while. When the server ends, it is left to another.
        """
        is_new = not (session.generation or session.released.is_set())
        session.is_taken = False
        session.socket = socket
        session.released.clear()
        if session.is_resumable:
            self._sessions[session.identity] = session
        is_kept = False
        try:
            yield
            is_kept = True  # the client may not have received the last messages
        except ClientLeft as left:
            is_kept = not left.is_clean and not (is_new and socket.status != 101)
            raise
        except asyncio.CancelledError:
            if session.is_resumable and not session.is_taken:
                await self.hand_over(session)
            raise
        finally:
            session.socket = None
            session.released.set()
            if is_kept and self._sessions.get(session.identity) is session:
                self._detach(session)
            elif not session.is_taken:
                self._drop(session)

    @property
    def _kept(self) -> list[Resumable]:
        """Sessions without a connection, the oldest first."""
        return [one for one in self._sessions.values() if one.expiry is not None]

    def _detach(self, session: Resumable) -> None:
        """Keep a session without a connection, for a while."""
        kept = self._kept
        if len(kept) >= _MOST_KEPT:
            self._expire(kept[0])
        seconds = self._service.config.limits.session_seconds
        session.expiry = asyncio.get_running_loop().call_later(seconds, self._expire, session)

    def _expire(self, session: Resumable) -> None:
        logger.info("session of %s expired", session.owner or "an open server")
        self._drop(session)

    def close(self) -> None:
        """Free the sessions that are kept; what was saved of them is left to other servers."""
        kept, self._sessions = self._sessions, {}
        for session in kept.values():
            _free(session)

    async def hand_over(self, session: Resumable) -> None:
        """Save a session for another server, and leave it to that."""
        await self._save(session)
        self._sessions.pop(session.identity, None)

    def _drop(self, session: Resumable) -> None:
        """End a session."""
        _free(session)
        if self._sessions.pop(session.identity, None) is not None and self._store is not None:
            self._store.delete(session.identity, session.generation)

    async def save_often(self, session: Resumable) -> None:
        """Save a session every few seconds, until cancelled."""
        progress = -1
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            if session.progress != progress:
                progress = session.progress
                await self._save(session)

    async def _save(self, session: Resumable) -> None:
        """Save a session for other servers, if there are any."""
        if self._store is None:
            return
        try:
            content = await session.saved()
            if content is not None:
                record = msgspec.msgpack.encode(_Record(_FORMAT, session.owner, content))
                await asyncio.to_thread(
                    self._store.write, session.identity, session.generation, record
                )
        except (MmsError, OSError) as error:
            logger.warning("a session could not be saved: %s", error)

    async def _restore(self, identity: str, owner: str, restore: Restore[_Session]) -> _Session:
        if self._store is None:
            raise unknown_session()
        seconds = self._service.config.limits.session_seconds
        found = await asyncio.to_thread(self._store.take, identity, seconds)
        if found is None:
            raise unknown_session()
        generation, content = found
        record = _unpack(content)
        if record.owner != owner:
            await asyncio.to_thread(self._store.write, identity, generation, content)
            raise unknown_session()
        try:
            session = await restore(identity, record.content)
        except ValueError as error:
            logger.warning("a saved session is damaged: %s", error)
            raise unknown_session("it is damaged") from error
        session.generation = generation + 1
        self._sessions[identity] = session
        return session


def _free(session: Resumable) -> None:
    """Free what a session holds, and the timer of its end."""
    if session.expiry is not None:
        session.expiry.cancel()
    session.cancel()


def owner_of(call: Call) -> str:
    """Return the name of a client's key; empty on an open server."""
    return "" if call.key is None else call.key.name


class _Record(msgspec.Struct):
    format: int
    owner: str
    content: bytes


def _unpack(content: bytes) -> _Record:
    try:
        record = msgspec.msgpack.decode(content, type=_Record)
    except (msgspec.MsgspecError, ValueError) as error:
        logger.warning("a saved session is damaged: %s", error)
        raise unknown_session("it is damaged") from error
    if record.format != _FORMAT:
        raise unknown_session("it was saved by another release")
    return record


def unknown_session(reason: str = "there is none, or no longer") -> ApiError:
    """Return the error for a session that cannot be resumed."""
    message = f"the session cannot be resumed: {reason}"
    return ApiError(404, message, code="session_not_found", param="resume")
