"""Route `/v1/stream`: audio in, events of the engine out, over a WebSocket."""

from dataclasses import dataclass
from typing import Any, Self, get_args

import msgspec
from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket

from mms_engine.asr.streaming import EndpointOptions, Final, StreamOptions
from mms_engine.asr.streaming.events import event_fields
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.live import LiveStream
from mms_engine.serve.models import Models, SpeechModel
from mms_engine.serve.sockets import Socket, first_of, serve_socket
from mms_engine.types import Latency, SampleFormat

router = APIRouter()

PROTOCOL = "mms-stream"
"""Sub-protocol, which the server's own page offers."""
_PARAMETERS = (
    "language",
    "model",
    "latency",
    "tentative",
    "format",
    "sample_rate",
    "pause",
    "hotwords",
)


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """Transcribe a live stream."""
    await serve_socket(websocket, "transcribe", _transcribe, page_protocol=PROTOCOL)


async def _transcribe(socket: Socket) -> None:
    service = socket.service
    request = _Request.read(socket.websocket.query_params, service.models)
    opened = await service.live.open(
        socket.client, request.model, request.language, request.options
    )
    async with opened as live:
        try:
            await socket.accept((PROTOCOL,))
            await socket.send(
                {
                    "type": "session",
                    "id": socket.call.id,
                    "model": request.model.id,
                    "language": live.language,
                    "latency": request.options.latency,
                    "warnings": live.warnings,
                }
            )
            await first_of(_feed(socket, live), _send(socket, live))
            await socket.send({"type": "end", "audio_seconds": round(live.audio_seconds, 4)})
        finally:
            socket.call.audio_seconds = live.audio_seconds


async def _feed(socket: Socket, live: LiveStream) -> None:
    """Feed what the client sends, until it leaves."""
    is_finished = False
    while True:
        message = await socket.receive()
        if is_finished:
            raise ApiError(400, "the stream was finished", code="invalid_message")
        if isinstance(message, bytes):
            await live.feed(message)
            continue
        match _kind(message):
            case "flush":
                live.flush()
            case "finish":
                live.finish()
                is_finished = True
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


async def _send(socket: Socket, live: LiveStream) -> None:
    """Send the events until the stream ends."""
    async for event in live:
        if isinstance(event, Final):
            socket.call.log_text(event.transcript.text)
        await socket.send(event_fields(event))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """Parameters of a connection, checked."""

    model: SpeechModel
    language: str
    options: StreamOptions

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
        given = query.get("model", "")
        return cls(
            model=models.find(given) if given else models.speech[0],
            language=query.get("language", ""),
            options=_options(query),
        )


def _options(query: QueryParams) -> StreamOptions:
    formats, latencies = get_args(SampleFormat), get_args(Latency)
    tentative = _choice(query, "tentative", ("false", "true"))
    pause = _number(query, "pause", 1.2)
    if not 0 < pause <= 60:
        raise invalid(f"pause is {pause:g}, must be above 0 and at most 60", "pause")
    rate = _number(query, "sample_rate", 16_000)
    try:
        return StreamOptions(
            latency=_choice(query, "latency", latencies, "balanced"),
            tentative=tentative == "true",
            sample_format=_choice(query, "format", formats, "s16le"),
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
