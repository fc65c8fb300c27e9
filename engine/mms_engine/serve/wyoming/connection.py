"""One client of the Wyoming protocol: its requests in, and the answers out."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator

from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.ping import Pong

from mms_engine.serve.call import ClientLeft
from mms_engine.serve.errors import ApiError, api_error, invalid
from mms_engine.serve.service import Service
from mms_engine.serve.wyoming import requests
from mms_engine.serve.wyoming.frames import EventReader, event_bytes
from mms_engine.serve.wyoming.info import PROGRAM, Catalogue
from mms_engine.serve.wyoming.recognition import Utterance
from mms_engine.serve.wyoming.requests import Dialogue, Request
from mms_engine.serve.wyoming.synthesis import TextInParts, speak, text_reader

logger = logging.getLogger(__name__)

_UNREAD_SECONDS = 60.0
"""Time after which a connection ends whose client does not read the answers."""
_LINGER_SECONDS = 5.0
_OK, _LEFT = 200, 499
"""Statuses for log and metrics."""


class Connection:
    """A connection. Requests are answered in order; the next are read while an answer is made.

    Any error ends it, after the event `error`: Home Assistant passes over the errors of a
    synthesis, and would wait for its end.
    """

    def __init__(
        self,
        service: Service,
        catalogue: Callable[[], Awaitable[Catalogue]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Take over a connection.

        Args:
            service: State of the server.
            catalogue: Returns its models and voices.
            reader: Bytes of the client.
            writer: Bytes to the client.
        """
        address = (writer.get_extra_info("peername") or ("local",))[0]
        self.client = f"wyoming {address}"
        """Name of the client, for fair shares and for logs."""
        self._service = service
        self._catalogue = catalogue
        self._reader = reader
        self._writer = writer
        self._dialogue = Dialogue()
        self._options = requests.Transcribe()
        """Options of the next utterance."""
        self._utterance: Utterance | None = None
        """Utterance whose audio is being received."""
        self._text: TextInParts | None = None
        """Text that is being received in parts."""
        self._answer: asyncio.Task[None] | None = None
        """Answer that is being made."""
        self._task: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Serve the client until it leaves, or a request fails."""
        self._task = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._read(tasks)
                if self._answer is not None:
                    self._answer.cancel()  # nobody reads it
        except* ClientLeft:
            pass
        except* Exception as group:  # noqa: BLE001 (it is sent and logged)
            answer = api_error(_first(group))
            logger.info("wyoming connection %d %s code=%s", answer.status, self.client, answer.code)
            await self.refuse(answer)

    async def refuse(self, error: ApiError) -> None:
        """Send an error, and end the connection."""
        self._service.metrics.refuse(error.code)
        with contextlib.suppress(ClientLeft, OSError):  # of which TimeoutError is one
            await self._send(Error(error.message, error.code))
            self._writer.write_eof()
            # A connection that is closed while the client still sends is reset, and the client
            # would never read why.
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(1 << 16):
                    pass

    async def _send(self, answer: Eventable) -> None:
        await self._write(event_bytes(answer.event()))

    async def _write(self, content: bytes) -> None:
        """Send bytes, and wait until there is room for more.

        Raises:
            ClientLeft: the client left, or does not read.
        """
        try:
            self._writer.write(content)
            async with asyncio.timeout(_UNREAD_SECONDS):
                await self._writer.drain()
        except OSError as error:  # of which TimeoutError is one
            raise ClientLeft from error

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        events = EventReader(self._reader, self._service.config.limits.header_seconds)
        while (event := await self._next(events)) is not None:
            request = requests.parse_request(event)
            if request is not None and self._dialogue.accept(request):
                await self._serve(request, event, tasks)

    async def _next(self, events: EventReader) -> Event | None:
        """Return the next event. A client that waits for an answer need not send one."""
        limits = self._service.config.limits
        is_idle = self._dialogue.state == "idle"
        patience = limits.idle_seconds if is_idle else limits.stream_idle_seconds
        while True:
            try:
                return await events.read(patience)
            except TimeoutError:
                if not is_idle or self._answer is None or self._answer.done():
                    message = f"no event came within {patience:g} s"
                    raise ApiError(408, message, code="idle_timeout") from None

    async def _serve(self, request: Request, event: Event, tasks: asyncio.TaskGroup) -> None:
        match request:
            case requests.Describe():
                await self._write((await self._catalogue()).info)
            case requests.Ping(text=text):
                await self._send(Pong(text))
            case requests.SelectProgram(name=name):
                if name != PROGRAM:
                    message = f"no program {name!r}; there is {PROGRAM}"
                    raise invalid(message, "name", "unknown_program")
            case requests.Transcribe():
                (await self._catalogue()).recognition(request.name, request.language)
                self._options = request
            case requests.AudioStart():
                await self._begin_audio(request, tasks)
            case requests.Synthesize():
                await self._begin_text(request, tasks)
            case requests.SynthesizeStart():
                await self._begin_parts(request, tasks)
            case _:
                await self._receive(request, event.payload or b"")

    async def _receive(self, request: Request, payload: bytes) -> None:
        """Take a part of the utterance or the text that is being received."""
        match request, self._utterance, self._text:
            case requests.AudioChunk() as chunk, Utterance() as utterance, _:
                await utterance.feed(chunk, payload)
            case requests.AudioStop(), Utterance() as utterance, _:
                self._utterance = None
                utterance.finish()
            case requests.SynthesizeChunk(text=part), _, TextInParts() as text:
                text.add(part)
            case requests.SynthesizeStop(), _, TextInParts() as text:
                self._text = None
                text.finish()

    async def _begin_audio(self, start: requests.AudioStart, tasks: asyncio.TaskGroup) -> None:
        options, self._options = self._options, requests.Transcribe()
        catalogue = await self._catalogue()
        opened: asyncio.Future[Utterance] = asyncio.get_running_loop().create_future()

        async def recognize() -> float:
            with self._streaming():
                utterance = await Utterance.open(
                    self._service, catalogue, self.client, options, start
                )
                opened.set_result(utterance)
                text = await utterance.answer(self._send)
            if self._service.config.log_text:
                logger.info("%s text: %s", self.client, text)
            return utterance.seconds

        await self._begin("wyoming transcribe", recognize, tasks)
        self._utterance = await opened

    async def _begin_text(self, request: requests.Synthesize, tasks: asyncio.TaskGroup) -> None:
        voice, _ = (await self._catalogue()).voice(request.voice)
        reader = text_reader(request.text_format)
        text = request.text if reader is None else reader.read(request.text, last=True)

        async def synthesize() -> float:
            with self._admitted():
                return await speak(self._service.speech, self.client, text, voice, self._send)

        await self._begin("wyoming synthesize", synthesize, tasks)

    async def _begin_parts(
        self, request: requests.SynthesizeStart, tasks: asyncio.TaskGroup
    ) -> None:
        voice, rate = (await self._catalogue()).voice(request.voice)
        reader = text_reader(request.text_format)
        text = TextInParts(self._service.speech, self.client, voice, rate, reader)

        async def synthesize() -> float:
            with self._admitted():
                return await text.answer(self._send)

        await self._begin("wyoming synthesize", synthesize, tasks)
        self._text = text

    @contextlib.contextmanager
    def _streaming(self) -> Iterator[None]:
        """Count an utterance among what the end of the server waits for.

        Raises:
            ApiError: 503; the server ends.
        """
        self._service.admission.check_draining()
        self._service.sockets.add(self)
        try:
            yield
        finally:
            self._service.sockets.discard(self)

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        """Count a synthesis among the running requests.

        Raises:
            ApiError: 429 or 503.
        """
        admission = self._service.admission
        admission.enter(self.client, None)
        try:
            yield
        finally:
            admission.leave(self.client)

    def end(self) -> None:
        """Tell the client that the server ends, and end the connection."""
        if self._task is not None:
            self._writer.write(event_bytes(Error("the server is ending", "draining").event()))
            self._task.cancel()

    async def _begin(
        self, route: str, make: Callable[[], Awaitable[float]], tasks: asyncio.TaskGroup
    ) -> None:
        """Begin to make an answer, when the one before it is finished."""
        if self._answer is not None:
            await asyncio.wait({self._answer})
        self._answer = tasks.create_task(self._make(route, make))

    async def _make(self, route: str, make: Callable[[], Awaitable[float]]) -> None:
        """Make an answer of some seconds of audio, and count it.

        Raises:
            ApiError: it could not be made.
        """
        service, begin = self._service, time.monotonic()
        status, seconds, code = _LEFT, 0.0, ""
        try:
            seconds = await make()
            status = _OK
        except ClientLeft:
            raise
        except Exception as error:
            answer = api_error(error)
            status, code = answer.status, f" code={answer.code}"
            raise answer from error
        finally:
            took = time.monotonic() - begin
            service.metrics.count(route, status, took, seconds)
            form = "%s %d %.0fms %s audio=%.1fs%s"
            logger.info(form, route, status, 1000 * took, self.client, seconds, code)


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    """Return the first error of a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
