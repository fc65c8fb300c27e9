"""Outermost layer of the application: identity, origin, log and metrics of every request."""

import asyncio
import logging
import time
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mms_engine.serve.call import Call
from mms_engine.serve.config import LOCAL_HOSTS, ServeConfig
from mms_engine.serve.errors import ApiError
from mms_engine.serve.service import Service
from mms_engine.serve.tracing import TraceSpan

logger = logging.getLogger(__name__)

_LINGER_SECONDS = 5.0
_PROBES = ("/health", "/metrics")
"""Routes that are called all the time, at the level of debugging in the log and not traced."""
CLIENT_LEFT = 499
"""Status in the log of a request whose client closed the connection."""


class CallMiddleware:
    """Creation and end of the `Call` of each HTTP request."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "websocket":
            scope["mms.call"] = Call(self._service, scope, receive)  # `serve_socket` ends it
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = scope["mms.call"] = Call(self._service, scope, receive)
        answer = _Answer(call, send, self._service)
        if scope["path"].startswith(_PROBES):
            await self._serve(scope, call, answer, TraceSpan())
            return
        with self._service.tracing.request(scope["method"], call.headers) as span:
            await self._serve(scope, call, answer, span)

    async def _serve(self, scope: Scope, call: Call, answer: "_Answer", span: TraceSpan) -> None:
        try:
            if is_allowed_origin(call.headers, self._service.config):
                await self._app(scope, call.receive, answer.send)
            else:
                error = ApiError(403, "this origin may not call the server", code="bad_origin")
                call.code = error.code
                response = JSONResponse(error.envelope(), error.status)
                await response(scope, call.receive, answer.send)
        except Exception:
            logger.debug("a request failed", exc_info=True)
        finally:
            await call.close()
            self._record(scope, call, answer, span)

    def _record(self, scope: Scope, call: Call, answer: "_Answer", span: TraceSpan) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        call.trace(span, scope["method"], route, answer.status)
        seconds = time.monotonic() - call.arrived
        self._service.metrics.count(route, answer.status, seconds, call.audio_seconds)
        if call.code:
            self._service.metrics.refuse(call.code)
        audio = f" audio={call.audio_seconds:.1f}s" if call.audio_seconds else ""
        code = f" code={call.code}" if call.code else ""
        level = logging.DEBUG if route.startswith(_PROBES) else logging.INFO
        logger.log(
            level,
            "%s %s %d %.0fms %s id=%s%s%s",
            scope["method"],
            route,
            answer.status,
            1000 * seconds,
            call.client,
            call.id,
            audio,
            code,
        )


class _Answer:
    """Sending of an answer, and of its last part after the rest of the body was discarded.

    A connection that closes while the client still sends is reset, and the client would never read
    why it was refused.
    """

    def __init__(self, call: Call, send: Send, service: Service) -> None:
        self.status = CLIENT_LEFT
        self._call = call
        self._send = send
        self._service = service

    async def send(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._call.id
            headers["X-Content-Type-Options"] = "nosniff"
            if not self._call.body_ended or self._service.admission.is_draining:
                headers["Connection"] = "close"
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and not self._call.body_ended:
            await self._send({**message, "more_body": True})
            await self._discard_body()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _discard_body(self) -> None:
        if self._call.headers.get("expect", "").lower() == "100-continue":
            return  # the client has not begun to send
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._call.body_ended:
                    await self._call.receive()


def is_allowed_origin(headers: Headers, config: ServeConfig) -> bool:
    """Return whether a request is not of a web page, of the server's own, or of an allowed one.

    CORS only keeps other pages from reading answers; they must not cause work either.
    """
    origin = headers.get("origin")
    if origin is None or "*" in config.cors_origins or origin in config.cors_origins:
        return True
    page = urlsplit(origin)
    if page.netloc != headers.get("host", ""):
        return False
    # The owner of a page may let its name lead here (DNS rebinding).
    return config.host not in LOCAL_HOSTS or page.hostname in LOCAL_HOSTS
