"""Connection of a realtime session: its messages, and the stream of the engine that it uses."""

import asyncio
from collections.abc import Sequence

from mms_engine.errors import MmsError
from mms_engine.serve.errors import ApiError, api_error
from mms_engine.serve.live.stream import LiveStream
from mms_engine.serve.realtime.items import COMPLETED, Fields, error_event
from mms_engine.serve.realtime.plan import Plan, plan
from mms_engine.serve.realtime.session import Feed, Finish, Flush, Open, Output, Resolve, Session
from mms_engine.serve.sockets import Socket, first_of

_RELEASE = 0.25
"""Share of the idle time-out after which the stream is given back, while the connection stays."""
_TICK_SECONDS = 0.2
_SERVER_ENDS = 1012
_MOST_PENDING = 50
"""Requested ends of utterances beyond which messages wait."""


class Connection:
    """A session, its connection, and one stream at a time."""

    def __init__(self, socket: Socket, session: Session) -> None:
        """Take a connection that is accepted."""
        self._socket = socket
        self._session = session
        self._stream: LiveStream | None = None
        self._opened: asyncio.Queue[LiveStream] = asyncio.Queue()
        self._advanced = asyncio.Event()
        """Set at each event of the stream, and at its end."""
        self._sending = asyncio.Lock()
        """Held while events that belong together are sent."""
        socket.describe = lambda error: session.identified(error_event(error))

    async def run(self) -> None:
        """Serve the session until the client leaves.

        Raises:
            ClientLeft: the client closed the connection.
            ApiError: there is no room for its stream.
        """
        try:
            await self._send([self._session.created()])
            await first_of(self._receive(), self._follow(), self._drain())
        finally:
            self._socket.call.audio_seconds = self._session.items.seconds
            if self._stream is not None:
                self._stream.cancel()

    async def _receive(self) -> None:
        """Take the messages of the client, until it sends none for too long."""
        while True:
            try:
                message = await self._next()
            except ApiError as error:
                if error.code != "idle_timeout":
                    raise
                # Without an event: clients that keep connections for later take one for a failure.
                await self._socket.close(1000, error.message)
                return
            while self._session.items.pending > _MOST_PENDING:
                await self._advance()
            outputs = self._session.receive(message)
            del message  # it may be large, and the audio in it may have to wait
            await self._carry_out(outputs)

    async def _next(self) -> str | bytes:
        """Return the next message; give the stream back if none comes for some time."""
        if self._stream is not None:
            patience = _RELEASE * self._socket.service.config.limits.stream_idle_seconds
            try:
                async with asyncio.timeout(patience):
                    return await self._socket.receive()
            except TimeoutError:
                await self._carry_out(self._session.idle())
        return await self._socket.receive()

    async def _carry_out(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            try:
                match output:
                    case Resolve():
                        await self._carry_out(await self._resolved(output))
                    case Open():
                        await self._open(output)
                    case Feed() if self._stream is not None:
                        await self._feed(self._stream, output.content)
                    case Flush() if self._stream is not None:
                        self._stream.flush()
                    case Finish() if self._stream is not None:
                        await self._finish(self._stream)
                    case dict():
                        await self._send([output])
            except MmsError:
                pass  # why the stream failed, which `_follow` tells

    async def _drain(self) -> None:
        """When the server ends, wait for the end of the turn, and close the connection."""
        admission = self._socket.service.admission
        while not (admission.is_draining and self._session.items.is_quiet):
            await asyncio.sleep(_TICK_SECONDS)
        await self._carry_out(self._session.idle())
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
        return self._session.resolved(request, found)

    async def _open(self, request: Open) -> None:
        wanted, service = request.plan, self._socket.service
        try:
            self._stream = await service.live.open(
                self._socket.client, wanted.model, wanted.language or "", wanted.options
            )
        except (ApiError, MmsError) as error:
            refusal = api_error(error)
            if refusal.status in (429, 503):
                raise refusal from error
            await self._send(self._session.refused(refusal))
        else:
            self._opened.put_nowait(self._stream)

    async def _feed(self, stream: LiveStream, content: bytes) -> None:
        """Feed a stream; what waits counts among the uploads in memory."""
        admission = self._socket.service.admission
        admission.take_bytes(len(content))
        try:
            await stream.feed(content)
        finally:
            admission.free_bytes(len(content))

    async def _finish(self, stream: LiveStream) -> None:
        """End a stream, and wait for its last events."""
        stream.finish()
        while self._stream is stream:
            await self._advance()

    async def _advance(self) -> None:
        self._advanced.clear()
        await self._advanced.wait()

    async def _follow(self) -> None:
        """Send the events of each stream."""
        while True:
            stream = await self._opened.get()
            failure = None
            try:
                async for event in stream:
                    await self._send(self._session.event(event, stream.warnings))
                    self._advanced.set()
            except MmsError as error:
                failure = api_error(error)
            ended = self._session.ended(failure)
            self._stream = None
            stream.cancel()
            await self._send(ended)
            self._advanced.set()

    async def _send(self, events: Sequence[Fields]) -> None:
        async with self._sending:
            for event in events:
                if event["type"] == COMPLETED:
                    self._socket.call.log_text(event["transcript"])
                await self._socket.send(event)
