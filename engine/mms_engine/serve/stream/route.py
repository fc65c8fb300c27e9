"""Route `/v1/stream`: audio in, events of the engine out, over a WebSocket."""

import functools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self, get_args

import msgspec
from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket

from mms_engine.asr.streaming import EndpointOptions, Final, Partial, StreamOptions
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.models import Models, SpeechModel
from mms_engine.serve.sessions.registry import Sessions, owner_of
from mms_engine.serve.sockets import Socket, first_of, serve_socket
from mms_engine.serve.stream.container import ContainerFeed
from mms_engine.serve.stream.session import Session
from mms_engine.types import Latency, SampleFormat

router = APIRouter()

PROTOCOL = "mms-stream"
"""Sub-protocol, which the server's own page offers."""
CONTAINER = "container"
"""Format of audio that is not raw samples."""
_NEW = "new"
_PARAMETERS = (
    "language",
    "model",
    "latency",
    "tentative",
    "format",
    "sample_rate",
    "pause",
    "hotwords",
    "resume",
    "after",
)


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """Transcribe a live stream."""
    await serve_socket(websocket, "transcribe", _transcribe, page_protocol=PROTOCOL)


async def _transcribe(socket: Socket) -> None:
    request = _Request.read(socket.websocket.query_params, socket.service.models)
    sessions: Sessions = socket.websocket.app.state.sessions
    session = await _open(socket, request, sessions)
    async with sessions.used(session, socket):
        try:
            await _serve(socket, session, request, sessions)
        finally:
            socket.call.audio_seconds = session.live.audio_seconds


async def _open(socket: Socket, request: "_Request", sessions: Sessions) -> Session:
    """Return a new session, or that of the request."""
    service = socket.service
    if request.is_resumed:
        restore = functools.partial(Session.restore, socket)
        return await sessions.resume(request.resume, socket, Session, restore)
    if request.is_container and not service.containers.free:
        message = "the server decodes as many containers as it may"
        raise ApiError(429, message, code="overloaded", retry_after=5)
    model, language = request.model, request.language
    live = await service.live.open(socket.client, model, language, request.options)
    owner, is_resumable = owner_of(socket.call), bool(request.resume)
    return Session(owner, model, language, live, is_resumable=is_resumable)


async def _serve(socket: Socket, session: Session, request: "_Request", sessions: Sessions) -> None:
    live = session.live
    missed = session.missed(request.after) if request.is_resumed else []
    await socket.accept((PROTOCOL,))
    fields: dict[str, Any] = {
        "type": "session",
        "id": session.identity,
        "model": session.model.id,
        "language": live.language,
        "latency": live.options.latency,
        "warnings": live.warnings,
    }
    if request.is_resumed:
        seconds = round(live.audio_seconds, 4)
        fields |= {"resumed": True, "audio_seconds": seconds, "audio_bytes": live.position}
    for message in (fields, *missed):
        await socket.send(message)
    works = [_send(socket, session, request.after)]
    if request.is_container:
        works.append(_feed_container(socket, session))
    else:
        works.append(_feed(socket, session, live.feed))
    if request.resume and sessions.is_shared:
        works.append(sessions.save_often(session))
    await first_of(*works)
    await socket.send({"type": "end", "audio_seconds": round(live.audio_seconds, 4)})


async def _feed_container(socket: Socket, session: Session) -> None:
    container = ContainerFeed(session.live, socket.service.containers, socket.client)
    try:
        await _feed(socket, session, container.feed, container.finish)
    finally:
        container.cancel()


async def _feed(
    socket: Socket,
    session: Session,
    feed: Callable[[bytes], Awaitable[None]],
    finish: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Feed what the client sends, until it leaves."""
    is_finished, live = False, session.live
    while True:
        # Behind the end, only the server has something to say, however long it takes.
        message = await (socket.receive_within(math.inf) if is_finished else socket.receive())
        if is_finished:
            raise ApiError(400, "the stream was finished", code="invalid_message")
        if isinstance(message, bytes):
            await feed(message)
            continue
        match _kind(message):
            case "flush":
                live.flush()
            case "finish":
                if finish is not None:
                    await finish()
                if not session.is_finished:
                    live.finish()
                session.is_finished = is_finished = True
            case other:
                text = f"a message of type {other!r}: there are flush and finish"
                raise ApiError(400, text, code="invalid_message", param="type")


def _kind(message: str) -> str:
    """Return the type of a message."""
    try:
        fields = msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError) as error:
        text = f"a message is not JSON: {error}"
        raise ApiError(400, text, code="invalid_message") from error
    kind = fields.get("type") if isinstance(fields, dict) else None
    return str(kind)[:40]


async def _send(socket: Socket, session: Session, after: int) -> None:
    """Send the events until the stream ends, without those that the client received before."""
    async for event in session.live:
        settled = session.live.settled
        if settled < after or (settled == after and not isinstance(event, Partial)):
            session.note(event)
            continue
        if isinstance(event, Final):
            socket.call.log_text(event.transcript.text)
        await socket.send(session.note(event))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """Parameters of a connection, checked."""

    model: SpeechModel
    language: str
    options: StreamOptions
    is_container: bool
    resume: str
    """Id of a session, `new` for one that may be resumed, or empty."""
    after: int
    """Number of events, without partial ones, that the client received."""

    @property
    def is_resumed(self) -> bool:
        """Whether a session is to be resumed."""
        return self.resume not in ("", _NEW)

    @classmethod
    def read(cls, query: QueryParams, models: Models) -> Self:
        """Check the parameters.

        Raises:
            ApiError: 400 or 404.
        """
        for name in query:
            if name not in _PARAMETERS:
                message = f"no parameter {name[:40]!r}; there are {', '.join(_PARAMETERS)}"
                raise invalid(message, name[:40], "unknown_parameter")
            if name != "hotwords" and len(query.getlist(name)) > 1:
                raise invalid(f"{name} was given several times", name)
        given, is_container = query.get("model", ""), query.get("format") == CONTAINER
        resume = query.get("resume", "")
        if is_container and resume:
            raise invalid("the stream of a container cannot be resumed", "resume")
        if is_container and "sample_rate" in query:
            raise invalid("sample_rate is for raw samples, not containers", "sample_rate")
        return cls(
            model=models.find(given) if given else models.speech[0],
            language=query.get("language", ""),
            options=_options(query),
            is_container=is_container,
            resume=resume,
            after=int(_number(query, "after", 0)),
        )


def _options(query: QueryParams) -> StreamOptions:
    formats, latencies = get_args(SampleFormat), get_args(Latency)
    tentative = _choice(query, "tentative", ("false", "true"))
    pause = _number(query, "pause", 1.2)
    if not 0 < pause <= 60:
        raise invalid(f"pause is {pause:g}, must be above 0 and at most 60", "pause")
    rate = _number(query, "sample_rate", 16_000)
    kind = _choice(query, "format", (*formats, CONTAINER), "s16le")
    try:
        return StreamOptions(
            latency=_choice(query, "latency", latencies, "balanced"),
            tentative=tentative == "true",
            sample_format="f32le" if kind == CONTAINER else kind,
            sample_rate=int(rate),
            endpoints=EndpointOptions(pause_seconds=pause),
            hotwords=tuple(query.getlist("hotwords")) or None,
        )
    except ValueError as error:
        raise invalid(str(error), "sample_rate") from error


def _choice(
    query: QueryParams, name: str, choices: tuple[Any, ...], default: str | None = None
) -> Any:  # noqa: ANN401
    given = query.get(name) or default or choices[0]
    if given not in choices:
        raise invalid(f"{name} is {given[:40]!r}; there are {', '.join(choices)}", name)
    return given


def _number(query: QueryParams, name: str, default: float) -> float:
    given = query.get(name, "")
    try:
        value = float(given) if given else default
    except ValueError as error:
        raise invalid(f"{name} is {given[:40]!r}, not a number", name) from error
    if not abs(value) < 1e9:
        raise invalid(f"{name} is {given[:40]!r}, out of range", name)
    return value
