"""HTTP connections with bounds that uvicorn lacks: their number, and the time of the headers."""

import asyncio
import json
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mms_engine.serve.config import Limits
from mms_engine.serve.errors import ApiError

_REASONS = {408: "Request Timeout", 503: "Service Unavailable"}
_UNSENT_MILLISECONDS = 60_000
"""Time after which a connection ends whose client does not read the answer."""


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
