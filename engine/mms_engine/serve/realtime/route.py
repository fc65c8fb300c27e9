"""Routes of realtime transcription: the WebSocket, and client secrets for browsers."""

import asyncio
import functools
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Request
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from mms_engine.serve.auth import check_scope
from mms_engine.serve.call import Call, call_of
from mms_engine.serve.client_secrets import DEFAULT_SECONDS, PREFIX, SECONDS
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.realtime.configuration import Configuration, updated
from mms_engine.serve.realtime.connection import Connection
from mms_engine.serve.realtime.plan import plan
from mms_engine.serve.realtime.resumable import PREFIX as SESSION
from mms_engine.serve.realtime.resumable import RealtimeSession
from mms_engine.serve.realtime.session import Session
from mms_engine.serve.sessions.registry import Sessions, owner_of
from mms_engine.serve.sockets import Socket, serve_socket

router = APIRouter(tags=["realtime"])

PROTOCOL = "realtime"
"""Sub-protocol of browsers."""
_SCOPE = "transcribe"
_NEW = "new"
"""Value of `resume` for a session that may be resumed."""
_MAX_BODY_BYTES = 256 << 10


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """Transcribe live audio."""
    await serve_socket(websocket, _SCOPE, _serve, authorize=_authorize, page_protocol=PROTOCOL)


def _authorize(socket: Socket) -> None:
    """Check the key or the client secret of a connection.

    Raises:
        ApiError: 401 or 403.
    """
    value = _bearer(socket)
    if not value.startswith(PREFIX):
        socket.call.allow(_SCOPE, socket.authorization)
        return
    secret = socket.service.client_secrets.find(value)
    socket.call.key, socket.call.client = secret.key, secret.client
    check_scope(secret.key, _SCOPE)


def _bearer(socket: Socket) -> str:
    scheme, _, value = socket.authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


async def _serve(socket: Socket) -> None:
    sessions: Sessions = socket.websocket.app.state.sessions
    resume = socket.websocket.query_params.get("resume", "")
    is_resumed = resume not in ("", _NEW)
    if is_resumed:
        restore = functools.partial(RealtimeSession.restore, socket)
        identity = resume.removeprefix(SESSION)
        session = await sessions.resume(identity, socket, RealtimeSession, restore)
    else:
        session = await _begun(socket, is_resumable=bool(resume))
    async with sessions.used(session, socket):
        if is_resumed:
            session.outbox.rewind(socket.websocket.query_params.get("after", ""))
        await socket.accept((PROTOCOL,))
        await Connection(socket, session, sessions).run(is_resumed=is_resumed)


async def _begun(socket: Socket, *, is_resumable: bool) -> RealtimeSession:
    models = socket.service.models
    value = _bearer(socket)
    if value.startswith(PREFIX):
        configuration: Configuration = socket.service.client_secrets.find(value).settings
    else:
        configuration = _requested(socket.websocket.query_params)
    found = await asyncio.to_thread(plan, configuration, models)
    owner = owner_of(socket.call)
    return RealtimeSession(owner, configuration, found, is_resumable=is_resumable)


def _requested(query: QueryParams) -> Configuration:
    """Return the configuration of a connection without a client secret.

    Raises:
        ApiError: 400; it is for another kind of session.
    """
    intent = query.get("intent", "")
    if intent != "transcription":
        message = (
            "only transcription sessions are served, not speech to speech: connect with "
            "?intent=transcription"
        )
        raise invalid(message, "intent", "unsupported_value")
    if not query.get("model"):
        return Configuration()
    own = {"audio": {"input": {"transcription": {"model": query["model"]}}}}
    return updated(Configuration(), own)[0]


class _ExpiresAfter(Struct):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=SECONDS.start, lt=SECONDS.stop)] = DEFAULT_SECONDS


class _Minting(Struct):
    expires_after: _ExpiresAfter | UnsetType | None = UNSET
    session: dict[str, Any] | UnsetType | None = UNSET


_BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "expires_after": {
                            "type": "object",
                            "properties": {
                                "anchor": {"type": "string", "enum": ["created_at"]},
                                "seconds": {
                                    "type": "integer",
                                    "minimum": SECONDS.start,
                                    "maximum": SECONDS.stop - 1,
                                    "default": DEFAULT_SECONDS,
                                },
                            },
                        },
                        "session": {
                            "type": "object",
                            "description": "Configuration of its sessions, as in session.update.",
                        },
                    },
                }
            }
        }
    }
}


@router.post(
    "/v1/realtime/client_secrets", summary="Mint a client secret for a browser", openapi_extra=_BODY
)
async def mint(request: Request) -> Response:
    """Return a secret, which is the bearer of realtime connections until it expires."""
    call = call_of(request)
    call.admit(_SCOPE)
    wanted = await _minting(call)
    configuration, warnings = updated(Configuration(), wanted.session or {})
    models = call.service.models
    found = await asyncio.to_thread(plan, configuration, models)
    expiry = wanted.expires_after or _ExpiresAfter()
    value, secret = call.service.client_secrets.mint(
        call.key, call.client, configuration, expiry.seconds
    )
    session = Session(configuration, found).wire(warnings)
    return JSONResponse(
        {
            "value": value,
            "expires_at": secret.expires_at,
            "session": {**session, "expires_at": secret.expires_at},
        }
    )


async def _minting(call: Call) -> _Minting:
    content = bytearray()
    async for chunk in call.body():
        content += chunk
        if len(content) > _MAX_BODY_BYTES:
            message = f"the body is larger than {_MAX_BODY_BYTES} bytes"
            raise ApiError(413, message, code="request_too_large")
    try:
        return msgspec.json.decode(bytes(content) or b"{}", type=_Minting)
    except (msgspec.DecodeError, RecursionError) as error:
        text, _, path = str(error).partition(" - at `$.")
        param = path.removesuffix("`") or None
        raise ApiError(400, text.replace("`", ""), code="invalid_value", param=param) from error


@router.get("/v1/realtime", include_in_schema=False)
async def upgrade() -> Response:
    """Return the error that the route is for WebSockets."""
    message = "connect with a WebSocket, to /v1/realtime?intent=transcription"
    raise ApiError(426, message, code="upgrade_required")


@router.api_route("/v1/realtime/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
async def missing(rest: str) -> Response:
    """Return the error that translations, calls and sessions of the beta are not served."""
    raise _missing(rest)


@router.websocket("/v1/realtime/{rest:path}")
async def missing_socket(websocket: WebSocket, rest: str) -> None:
    """Refuse the handshake."""

    async def refuse(_: Socket) -> None:
        raise _missing(rest)

    await serve_socket(websocket, _SCOPE, refuse)


def _missing(rest: str) -> ApiError:
    message = (
        f"/v1/realtime/{rest[:40]} is not served: there are /v1/realtime?intent=transcription and "
        "/v1/realtime/client_secrets"
    )
    return ApiError(404, message, code="not_found")
