"""Connection of a realtime session: its messages, and the stream of the engine that it uses."""

import asyncio
import contextlib
from collections.abc import Iterable

from mms_engine.errors import MmsError
from mms_engine.serve.errors import ApiError, api_error
from mms_engine.serve.live.stream import LiveStream
from mms_engine.serve.realtime.item import Fields
from mms_engine.serve.realtime.items import COMPLETED, error_event
from mms_engine.serve.realtime.plan import Plan, plan
from mms_engine.serve.realtime.resumable import RealtimeSession
from mms_engine.serve.realtime.session import Feed, Finish, Flush, Open, Output, Resolve
from mms_engine.serve.sessions.registry import Sessions
from mms_engine.serve.sockets import Socket, first_of

_RELEASE = 0.25
"""Share of the idle time-out after which the stream is given back, while the connection stays."""
_TICK_SECONDS = 0.2
_SERVER_ENDS = 1012
_MOST_PENDING = 50
"""Requested ends of utterances beyond which messages wait."""


class Connection:
    """A connection of a session, which uses one stream at a time."""

    def __init__(self, socket: Socket, session: RealtimeSession, sessions: Sessions) -> None:
        """Take a connection that is accepted."""
        self._socket = socket
        self._session = session
        self._protocol = session.protocol
        self._sessions = sessions
        self._opened: asyncio.Queue[LiveStream] = asyncio.Queue()
        self._advanced = asyncio.Event()
        """Set at each event of the stream, and at its end."""
        socket.describe = lambda error: session.outbox.append(error_event(error))

    async def run(self, *, is_resumed: bool) -> None:
        """Serve the session until the client leaves.

        Raises:
            ClientLeft: the client closed the connection.
            ApiError: there is no room for its stream.
        """
        session, socket = self._session, self._socket
        if is_resumed:
            await socket.send(self._resumed())
        else:
            self._say([self._protocol.created()])
        if session.stream is not None:
            self._opened.put_nowait(session.stream)
        works = [self._receive(), self._follow(), session.outbox.deliver(socket.send)]
        works.append(self._drain())
        if session.is_resumable and self._sessions.is_shared:
            works.append(self._sessions.save_often(session))
        try:
            await first_of(*works)
        except ApiError:
            await session.outbox.send_rest(socket.send)
            raise
        finally:
            socket.call.audio_seconds = self._protocol.items.seconds

    def _resumed(self) -> Fields:
        """Return the first event of a connection that resumes the session."""
        created = self._protocol.created()
        created["session"]["x_mms"] |= {"resumed": True, "received": self._session.received}
        return self._session.outbox.resumed(created)

    async def _receive(self) -> None:
        """Take the messages of the client, until it sends none for too long."""
        await self._handle([])  # what the last connection left
        while True:
            try:
                message = await self._next()
            except ApiError as error:
                if error.code != "idle_timeout":
                    raise
                await self._session.outbox.send_rest(self._socket.send)
                # Without an event: clients that keep connections for later take one for a failure.
                await self._socket.close(1000, error.message)
                return
            while self._protocol.items.pending > _MOST_PENDING:
                await self._advance()
            await self._session.outbox.has_room()
            async with self._session.handling:
                self._session.received += 1
                self._session.todo.extend(self._protocol.receive(message))
                del message  # it may be large, and the audio in it may have to wait
                await self._carry_out()

    async def _next(self) -> str | bytes:
        """Return the next message; give the stream back if none comes for some time."""
        if self._session.stream is not None:
            patience = _RELEASE * self._socket.service.config.limits.stream_idle_seconds
            try:
                return await self._socket.receive_within(patience)
            except TimeoutError:
                await self._handle(self._protocol.idle())
        return await self._socket.receive()

    async def _handle(self, outputs: Iterable[Output]) -> None:
        async with self._session.handling:
            self._session.todo.extend(outputs)
            await self._carry_out()

    async def _carry_out(self) -> None:
        """Do what is to be done; when cancelled, the rest stays to be done."""
        todo = self._session.todo
        while todo:
            more: list[Output] = []
            with contextlib.suppress(MmsError):  # why the stream failed, which `_follow` tells
                more = await self._done(todo[0])
            todo.popleft()
            todo.extendleft(reversed(more))

    async def _done(self, output: Output) -> list[Output]:
        """Do something, and return what is to be done after it."""
        stream = self._session.stream
        match output:
            case Resolve():
                return await self._resolved(output)
            case Open():
                await self._open(output)
            case Feed() if stream is not None:
                await self._feed(stream, output)
            case Flush() if stream is not None:
                stream.flush()
            case Finish() if stream is not None:
                await self._finish(stream)
            case dict():
                self._say([output])
        return []

    async def _drain(self) -> None:
        """When the server ends, wait for the end of the turn, and close the connection."""
        admission = self._socket.service.admission
        while not (admission.is_draining and self._protocol.items.is_quiet):
            await asyncio.sleep(_TICK_SECONDS)
        await self._handle(self._protocol.idle())
        if self._session.is_resumable:
            await self._sessions.hand_over(self._session)
        await self._session.outbox.send_rest(self._socket.send)
        await self._socket.close(_SERVER_ENDS, "the server ends")

    async def _resolved(self, request: Resolve) -> list[Output]:
        """Find the plan of a configuration in a thread: a wrong language takes a while to tell."""
        found: Plan | ApiError
        try:
            found = await asyncio.to_thread(
                plan, request.configuration, self._socket.service.models
            )
        except ApiError as error:
            found = error
        return self._protocol.resolved(request, found)

    async def _open(self, request: Open) -> None:
        wanted, service = request.plan, self._socket.service
        try:
            stream = await service.live.open(
                self._socket.client, wanted.model, wanted.language or "", wanted.options
            )
        except (ApiError, MmsError) as error:
            refusal = api_error(error)
            if refusal.status in (429, 503):
                raise refusal from error
            self._say(self._protocol.refused(refusal))
        else:
            self._session.stream = stream
            self._opened.put_nowait(stream)

    async def _feed(self, stream: LiveStream, output: Feed) -> None:
        """Feed a stream; what waits counts among the uploads in memory."""
        admission, content = self._socket.service.admission, output.content
        admission.take_bytes(len(content))
        begin = stream.position
        try:
            await stream.feed(content)
        except asyncio.CancelledError:
            self._session.todo[0] = Feed(content[stream.position - begin :])
            raise
        finally:
            admission.free_bytes(len(content))

    async def _finish(self, stream: LiveStream) -> None:
        """End a stream, and wait for its last events."""
        if not self._session.is_finishing:
            stream.finish()
            self._session.is_finishing = True
        while self._session.stream is stream:
            await self._advance()

    async def _advance(self) -> None:
        self._advanced.clear()
        await self._advanced.wait()

    async def _follow(self) -> None:
        """Tell the events of each stream."""
        while True:
            stream = await self._opened.get()
            failure = None
            try:
                async for event in stream:
                    self._say(self._protocol.event(event, stream.warnings))
                    self._advanced.set()
                    await self._session.outbox.has_room()
            except MmsError as error:
                failure = api_error(error)
            ended = self._protocol.ended(failure)
            self._session.stream, self._session.is_finishing = None, False
            stream.cancel()
            self._say(ended)
            self._advanced.set()

    def _say(self, events: Iterable[Fields]) -> None:
        """Put events into the outbox."""
        for event in events:
            if event["type"] == COMPLETED:
                self._socket.call.log_text(event["transcript"])
            self._session.outbox.append(event)
