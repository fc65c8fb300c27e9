"""Connections with bounds that uvicorn lacks: number, time of the headers, memory of messages."""

import asyncio
import json
import socket

import h11
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from mms_engine.serve.admission import Admission
from mms_engine.serve.config import Limits
from mms_engine.serve.errors import ApiError

_REASONS = {408: "Request Timeout", 503: "Service Unavailable"}
_UNSENT_MILLISECONDS = 60_000
"""Time after which a connection ends whose client does not read the answer."""

_MAX_MESSAGES = 4096
"""Messages that may arrive at once: 256 KiB are read, and 10 ms of G.711 are 80 bytes."""
_MAX_QUEUED = 1 << 15
"""Bytes of queued messages at which reading pauses."""
_MESSAGE_BYTES = 64
"""Bytes that a message is taken for beyond its content."""
_LINGER_SECONDS = 5.0
"""Time for which the rest of a refused message is read."""
_MAX_FRAGMENTS = 1024
"""Frames of one message."""


class BoundedProtocol(H11Protocol):
    """An HTTP/1.1 connection; see `bounded_protocol`."""

    limits: Limits
    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        opened = transport.get_extra_info("socket")
        if opened is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNSENT_MILLISECONDS)
        if len(self.connections) > self.limits.max_connections:
            message = f"the server has {self.limits.max_connections} connections, its limit"
            self._refuse(ApiError(503, message, code="overloaded", retry_after=1))
            return
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        super().data_received(data)
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            self._cancel_timer()
        elif self._header_timer is None:
            self._watch_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel_timer()
        super().connection_lost(exc)

    def _watch_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.limits.header_seconds, self._end)

    def _cancel_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _end(self) -> None:
        message = f"no whole request within {self.limits.header_seconds:g} s"
        self._refuse(ApiError(408, message, code="request_timeout"))

    def _refuse(self, error: ApiError) -> None:
        body = json.dumps(error.envelope())
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **error.headers,
        }
        lines = [f"HTTP/1.1 {error.status} {_REASONS[error.status]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write(("\r\n".join([*lines, "", body])).encode())
        self.transport.close()


def bounded_protocol(limits: Limits) -> type[BoundedProtocol]:
    """Return the class of connections within limits."""
    return type("LimitedProtocol", (BoundedProtocol,), {"limits": limits})


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket connection; see `bounded_socket`.

    Reading begins once the handshake is accepted, and pauses while many bytes of messages wait to
    be taken: to pause at each message would cost two system calls. The connection stays in the set
    that `BoundedProtocol` counts.
    """

    admission: Admission
    _held = 0
    """Bytes of an incomplete message."""
    _queued = 0
    """Bytes of the messages queued since the queue was last empty."""
    _is_refused = False

    def handle_connect(self, event: Request) -> None:
        """Begin the handshake; what follows it is read when the application receives."""
        self.read_paused = True
        self.transport.pause_reading()
        super().handle_connect(event)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, within the memory for all incomplete messages."""
        if self._is_refused:
            return  # read and discarded: the client can read why only if nothing is left unread
        super().data_received(data)
        held = len(self.conn.reader.buffer) + (self.conn.cur_size or 0)
        try:
            if held > self._held:
                self.admission.take_bytes(held - self._held)
            else:
                self.admission.free_bytes(self._held - held)
            self._held = held
        except ApiError as error:
            self._refuse(1013, error.message)

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment of a message."""
        if len(self.frames) >= _MAX_FRAGMENTS:
            self._refuse(1008, "too many fragments")
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Queue a message."""
        if self.queue.qsize() >= _MAX_MESSAGES:
            self._refuse(1008, "too many messages at once")
            return
        self._queued += _MESSAGE_BYTES + sum(map(len, self.frames))
        is_paused, is_full = self.read_paused, self._queued >= _MAX_QUEUED
        self.read_paused = is_paused or not is_full  # the base class pauses where it does not hold
        super().send_receive_event_to_app()
        self.read_paused = is_paused or is_full

    async def receive(self) -> ASGIReceiveEvent:
        """Take a message; when none is left, reading goes on."""
        message = await super().receive()
        if self.queue.empty():
            self._queued = 0
        return message

    def handle_ping(self) -> None:
        """Answer a ping, unless the client does not read the answers."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message; a refusal completes the handshake too."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.admission.free_bytes(self._held)
        self._held = 0
        super().connection_lost(exc)

    def handle_parser_exception(self) -> None:
        """End a connection that broke the protocol or a limit."""
        if self._is_refused or self.conn.close_sent is None:
            return
        self._is_refused = self.close_sent = True
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _refuse(self, code: int, reason: str) -> None:
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()


def bounded_socket(admission: Admission) -> type[BoundedSocket]:
    """Return the class of WebSocket connections whose bytes an admission counts."""
    return type("LimitedSocket", (BoundedSocket,), {"admission": admission})
