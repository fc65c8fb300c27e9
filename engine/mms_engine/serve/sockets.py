"""WebSocket connections: the key, refusals before the handshake, time-outs, and the end."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from mms_engine.serve.call import Call, ClientLeft
from mms_engine.serve.errors import ApiError, api_error
from mms_engine.serve.middleware import CLIENT_LEFT, is_allowed_origin
from mms_engine.serve.patience import Patience
from mms_engine.serve.tracing import TraceSpan

logger = logging.getLogger(__name__)

KEY_PROTOCOL = "openai-insecure-api-key."
"""Prefix of the sub-protocol that holds the key: browsers cannot send other headers."""
_CLOSE_SECONDS = 5.0
"""Time for the last messages to a client that may not read."""
_SERVER_ENDS = 1012
_CLOSE_CODES = {413: 1009, 429: 1013, 500: 1011, 503: 1013}
POLICY = 1008
"""Close code for a connection that broke a rule."""
_CLEAN_CODES = (1000, 1001)


class Socket:
    """A WebSocket connection being served; see `serve_socket`."""

    def __init__(self, websocket: WebSocket) -> None:
        """Take a connection whose handshake is not answered."""
        self.websocket = websocket
        self.page_protocol = ""
        """Sub-protocol of the connection if it is of a web page, which cannot see HTTP answers."""
        self.call: Call = websocket.scope["mms.call"]
        """Identity of the connection: its id, client and key."""
        self.service = self.call.service
        self.describe: Callable[[ApiError], dict[str, Any]] = _describe
        """Returns the message for an error."""
        self.status = CLIENT_LEFT
        """HTTP status of the answer to the handshake; 101 once accepted."""
        self.close_code = 0
        """Code with which this side closed the connection."""
        self.ending: tuple[int, str] | None = None
        """Code and reason with which the server ends the connection."""
        self.span = TraceSpan()
        """Span of the connection."""
        self._task = asyncio.current_task()
        self._patience = Patience()

    @property
    def client(self) -> str:
        """Name of the client, for fair shares and for logs."""
        return self.call.client

    @property
    def authorization(self) -> str:
        """Value of the header `Authorization`, or the key in a sub-protocol in its form."""
        header = self.websocket.headers.get("authorization")
        if header is not None:
            return header
        for name in self.websocket.scope["subprotocols"]:
            if name.startswith(KEY_PROTOCOL):
                return f"Bearer {name.removeprefix(KEY_PROTOCOL)}"
        return ""

    async def accept(self, subprotocols: Sequence[str] = ()) -> None:
        """Accept the connection, with the first of the sub-protocols that the client offers.

        Raises:
            ClientLeft: the client closed the connection.
        """
        offered = self.websocket.scope["subprotocols"]
        chosen = next((name for name in subprotocols if name in offered), None)
        headers = [(b"x-request-id", self.call.id.encode())]
        with _leaving():
            await self.websocket.accept(chosen, headers)
        self.status = 101

    async def receive(self) -> bytes | str:
        """Return the next message of the client.

        Raises:
            ClientLeft: the client closed the connection.
            ApiError: it sent nothing for too long.
        """
        seconds = self.service.config.limits.stream_idle_seconds
        try:
            return await self.receive_within(seconds)
        except TimeoutError:
            text = f"the client sent no message for {seconds:g} s"
            raise ApiError(408, text, code="idle_timeout") from None

    async def receive_within(self, seconds: float) -> bytes | str:
        """Return the next message of the client, for which it has some time, or `math.inf`.

        Raises:
            ClientLeft: the client closed the connection.
            TimeoutError: it sent nothing in that time.
        """
        message = await self._patience.wait(self.websocket.receive(), seconds)
        if message["type"] == "websocket.disconnect":
            raise ClientLeft(is_clean=message.get("code") in _CLEAN_CODES)
        found: bytes | str | None = message.get("text")
        return message["bytes"] if found is None else found

    async def send(self, message: Any) -> None:  # noqa: ANN401
        """Send a message as JSON; wait while the client reads too slowly.

        Raises:
            ClientLeft: the client closed the connection.
        """
        with _leaving():
            await self.websocket.send_text(msgspec.json.encode(message).decode())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection after the messages sent so far."""
        self.close_code = code
        with contextlib.suppress(ClientLeft), _leaving():
            await self.websocket.close(code, reason)

    async def fail(self, error: ApiError) -> None:
        """Refuse the handshake with an error, or send it and close the connection."""
        self.call.code = error.code
        if self.status != 101 and self.page_protocol in self.websocket.scope["subprotocols"]:
            with contextlib.suppress(ClientLeft):
                await self.accept((self.page_protocol,))
        if self.status != 101:
            self.status = error.status
            headers = {**error.headers, "X-Request-ID": self.call.id}
            response = JSONResponse(error.envelope(), error.status, headers)
            with contextlib.suppress(ClientLeft), _leaving():
                await self.websocket.send_denial_response(response)
            return
        with contextlib.suppress(ClientLeft):
            await self.send(self.describe(error))
        # 123 bytes is the most that a close frame holds.
        reason = error.message.encode()[:120].decode(errors="ignore")
        await self.close(_CLOSE_CODES.get(error.status, POLICY), reason)

    def end(self, code: int = _SERVER_ENDS, reason: str = "the server ends") -> None:
        """End the connection; its work is cancelled."""
        self.ending = code, reason
        if self._task is not None:
            self._task.cancel()

    def end_patience(self) -> None:
        """Free the timer."""
        self._patience.close()

    def record(self) -> None:
        """Log and count the connection, which has ended."""
        call, metrics = self.call, self.service.metrics
        route = getattr(self.websocket.scope.get("route"), "path", "unmatched")
        seconds = time.monotonic() - call.arrived
        metrics.count(route, self.status, seconds, call.audio_seconds)
        call.trace(self.span, "WS", route, self.status)
        if call.code:
            metrics.refuse(call.code)
        audio = f" audio={call.audio_seconds:.1f}s" if call.audio_seconds else ""
        code = f" code={call.code}" if call.code else ""
        closed = f" close={self.close_code}" if self.close_code else ""
        timing, identity = f"{1000 * seconds:.0f}ms", f"{call.client} id={call.id}"
        logger.info(
            "SOCKET %s %d %s %s%s%s%s", route, self.status, timing, identity, audio, closed, code
        )


async def serve_socket(
    websocket: WebSocket,
    scope: str,
    work: Callable[[Socket], Awaitable[None]],
    *,
    authorize: Callable[[Socket], None] | None = None,
    page_protocol: str = "",
) -> None:
    """Serve a connection: check it, run its work, and close it.

    Before the handshake, an error of the checks or the work refuses it with an HTTP answer;
    afterwards it is sent as a message, and the connection is closed. At the end of the server the
    work is cancelled.

    Args:
        websocket: Connection.
        scope: Scope that its key must have.
        work: Calls `accept`, then receives and sends.
        authorize: Checks `Socket.authorization` in place of the check of keys.
        page_protocol: Sub-protocol with which web pages are told of a refusal by a message after
            the handshake, since they cannot see the HTTP answer.
    """
    socket = Socket(websocket)
    with socket.service.tracing.request("WS", websocket.headers) as span:
        socket.span = span
        await _serve_checked(socket, scope, work, authorize, page_protocol)


async def _serve_checked(
    socket: Socket,
    scope: str,
    work: Callable[[Socket], Awaitable[None]],
    authorize: Callable[[Socket], None] | None,
    page_protocol: str,
) -> None:
    """Serve a connection whose span has begun; see `serve_socket`."""
    service, websocket = socket.service, socket.websocket
    service.sockets.add(socket)
    try:
        if not is_allowed_origin(websocket.headers, service.config):
            raise ApiError(403, "this origin may not call the server", code="bad_origin")
        if "origin" in websocket.headers:
            socket.page_protocol = page_protocol
        if authorize is None:
            socket.call.allow(scope, socket.authorization)
        else:
            authorize(socket)
        service.admission.check_draining()
        await work(socket)
        await socket.close()
    except ClientLeft:
        logger.debug("a client left", exc_info=True)
    except asyncio.CancelledError:
        if socket.ending is None:
            raise
        await _at_most(socket.close(*socket.ending))
    except Exception as error:  # noqa: BLE001 (told to the client)
        await _at_most(socket.fail(api_error(error)))
    finally:
        service.sockets.discard(socket)
        socket.end_patience()
        await socket.call.close()
        socket.record()


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run several works until one ends; cancel the others, and raise its error if it has one."""
    tasks = [asyncio.ensure_future(work) for work in works]
    done: set[asyncio.Future[None]] = set()
    try:
        done, _ = await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # An error holds this frame, and its task the error: a circle, with all that the works hold.
        tasks.clear()
        done.clear()


async def _at_most(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await work


@contextlib.contextmanager
def _leaving() -> Any:  # noqa: ANN401
    """Raise `ClientLeft` where the connection is closed."""
    try:
        yield
    except (WebSocketDisconnect, RuntimeError) as error:
        raise ClientLeft() from error  # noqa: RSE102 (it has options)


def _describe(error: ApiError) -> dict[str, Any]:
    return {"type": "error", **error.envelope()}
