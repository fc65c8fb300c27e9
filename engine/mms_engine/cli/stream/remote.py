"""Transcription on a server: `/v1/stream` of `mms serve`, resumed when the connection breaks."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import click
import numpy as np

from mms_engine.asr.streaming import Event, Partial
from mms_engine.asr.streaming.events import read_event
from mms_engine.cli.stream.sound import Piece
from mms_engine.errors import MmsError, ServerError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_KEPT_BYTES = 4 << 20
"""Audio that was sent and may have to be sent again: a minute of float32."""
_WAITING_BYTES = 1 << 20
"""Audio that may wait to be sent."""
_PIECE_BYTES = 1 << 15
_RESUME_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
Show = Callable[[Sequence[Event]], None]
"""Prints events."""
_FINISH = json.dumps({"type": "finish"})
_RESUMABLE = (1006, 1011, 1012, 1013)
"""Codes of closed connections that may be resumed: broken off, or ended by the server."""


class RemoteStream:
    """A stream on a server."""

    def __init__(self, server: str, key: str | None, query: dict[str, str]) -> None:
        """Connect to a server.

        Args:
            server: URL.
            key: API key.
            query: Parameters of `/v1/stream`.

        Raises:
            click.UsageError: the URL is none.
        """
        self._url = _stream_url(server)
        self._server = server
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._query = query
        self._session = ""
        self._settled = 0
        """Events received, without partial ones."""
        self._outbox = _Outbox()
        self._source_error: MmsError | None = None

    def run(self, pieces: Iterable[Piece], show: Show) -> None:
        """Send audio and show the events until the stream ends.

        Raises:
            ServerError: the server cannot be used.
            MmsError: the audio cannot be read; the text before is shown.
        """
        connection = self._connect(self._query | {"resume": "new"})
        threading.Thread(target=self._take, args=(pieces,), daemon=True).start()
        while not self._receive(connection, show):
            connection = self._reconnect()
        if self._source_error is not None:
            raise self._source_error

    def _take(self, pieces: Iterable[Piece]) -> None:
        try:
            for piece in pieces:
                self._outbox.put(_content(piece))
        except MmsError as error:
            self._source_error = error
        self._outbox.end()

    def _receive(self, connection: "ClientConnection", show: Show) -> bool:
        """Show events; return whether the stream ended, else the connection is to be resumed."""
        from websockets.exceptions import ConnectionClosed

        sender: threading.Thread | None = None
        try:
            while True:
                fields = self._read(connection.recv())
                match fields.get("type"):
                    case "session":
                        sender = self._begin(connection, fields)
                    case "end":
                        connection.close()
                        return True
                    case "error":
                        raise ServerError(f"{self._server}: {_message(fields)}")
                    case _:
                        self._show(fields, show)
        except ConnectionClosed as error:
            code = 1006 if error.rcvd is None else error.rcvd.code
            if code not in _RESUMABLE:
                reason = error.rcvd.reason if error.rcvd else ""
                raise ServerError(f"{self._server} closed the stream: {reason or code}") from error
            return False
        finally:
            self._outbox.disconnect()
            connection.close()
            if sender is not None:
                sender.join()

    def _read(self, message: str | bytes) -> dict[str, Any]:
        try:
            fields = json.loads(message)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise ServerError(f"{self._server} sent no JSON object: is it mms serve?")
        return fields

    def _begin(self, connection: "ClientConnection", fields: dict[str, Any]) -> threading.Thread:
        if not self._session:
            for warning in fields.get("warnings", ()):
                click.echo(f"Warning: {warning}", err=True)
        self._session = str(fields.get("id", ""))
        self._outbox.connect(int(fields.get("audio_bytes", 0)))
        sender = threading.Thread(target=self._send, args=(connection,), daemon=True)
        sender.start()
        return sender

    def _send(self, connection: "ClientConnection") -> None:
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):  # `_receive` sees it too
            while (piece := self._outbox.take()) is not None:
                connection.send(piece if piece else _FINISH)

    def _show(self, fields: dict[str, Any], show: Show) -> None:
        try:
            event = read_event(fields)
        except ValueError as error:
            raise ServerError(f"{self._server}: {error}") from error
        if event is None:
            return  # of a later release
        if not isinstance(event, Partial):
            self._settled += 1
        show([event])

    def _reconnect(self) -> "ClientConnection":
        """Resume the session, for as long as the server keeps it."""
        click.echo(f"Warning: the connection to {self._server} broke; resuming", err=True)
        query = {"resume": self._session, "after": str(self._settled)}
        end, pause = time.monotonic() + _RESUME_SECONDS, _PAUSE_SECONDS
        while True:
            try:
                return self._connect(query)
            except _Unavailable:
                if time.monotonic() + pause > end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _connect(self, query: dict[str, str]) -> "ClientConnection":
        try:
            from websockets.exceptions import InvalidHandshake, InvalidStatus
            from websockets.sync.client import connect
        except ModuleNotFoundError as error:
            raise ServerError(
                "a stream on a server needs the package websockets: pip install 'mms-engine[serve]'"
            ) from error
        try:
            return connect(
                f"{self._url}?{urlencode(query)}",
                additional_headers=self._headers,
                compression=None,
                max_size=None,
            )
        except InvalidStatus as error:
            raise self._refusal(error.response.status_code, bytes(error.response.body)) from error
        except InvalidHandshake as error:
            message = f"{self._server} does not answer as mms serve does: {error}"
            raise _Unavailable(message) from error
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or error
            if isinstance(error, ssl.SSLCertVerificationError):
                reason = (
                    f"its certificate is not trusted: {error.verify_message} (SSL_CERT_FILE names "
                    "a file of further authorities)"
                )
            raise _Unavailable(f"{self._server} cannot be reached: {reason}") from error

    def _refusal(self, status: int, body: bytes) -> ServerError:
        try:
            message = _message(json.loads(body))
        except (ValueError, TypeError, AttributeError):
            message = f"HTTP status {status}: is it mms serve?"
        hint = " (--key or MMS_API_KEY)" if status == 401 else ""
        kind = _Unavailable if status in (429, 502, 503, 504) else ServerError
        return kind(f"{self._server} refused the stream: {message}{hint}")


class _Unavailable(ServerError):
    """A server that may be usable later."""


class _Outbox:
    """Audio on its way to the server; what was sent is kept for a while."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._begin = 0
        """Position of the first byte that is kept."""
        self._sent = 0
        self._is_ended = False
        self._is_finished = False
        """Whether the end was taken on this connection."""
        self._is_connected = False
        self._changed = threading.Condition()

    def put(self, content: bytes) -> None:
        """Append audio; wait while too much is waiting."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < _WAITING_BYTES)
            self._content += content
            self._changed.notify_all()

    @property
    def _waiting(self) -> int:
        return self._begin + len(self._content) - self._sent

    def end(self) -> None:
        """End the stream."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def connect(self, position: int) -> None:
        """Begin to send from a position.

        Raises:
            ServerError: the audio there is not kept.
        """
        with self._changed:
            if not self._begin <= position <= self._sent:
                raise ServerError("the server lost audio that is no longer kept here: begin anew")
            self._sent, self._is_finished, self._is_connected = position, False, True

    def disconnect(self) -> None:
        """Make `take` return `None`."""
        with self._changed:
            self._is_connected = False
            self._changed.notify_all()

    def take(self) -> bytes | None:
        """Wait for audio and return it; empty at its end, `None` without a connection."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    not self._is_connected
                    or self._waiting
                    or (self._is_ended and not self._is_finished)
                )
            )
            if not self._is_connected:
                return None
            start = self._sent - self._begin
            piece = bytes(self._content[start : start + _PIECE_BYTES])
            self._is_finished = not piece
            self._sent += len(piece)
            surplus = self._sent - self._begin - _KEPT_BYTES
            if surplus > 0:
                del self._content[:surplus]
                self._begin += surplus
            self._changed.notify_all()
            return piece


def _content(piece: Piece) -> bytes:
    return piece.astype("<f4").tobytes() if isinstance(piece, np.ndarray) else piece


def _message(fields: dict[str, Any]) -> str:
    """Return the message of an error's envelope."""
    return str(fields["error"]["message"])


def _stream_url(server: str) -> str:
    """Return the URL of the route.

    Raises:
        click.UsageError: it is no URL of a server.
    """
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    try:
        parts = urlsplit(server)
        is_url = parts.scheme in schemes and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_url = False
    if not is_url:
        raise click.UsageError(f"--server {server} is no URL such as http://127.0.0.1:8000")
    path = parts.path.rstrip("/").removesuffix("/stream").removesuffix("/v1") + "/v1/stream"
    return urlunsplit((schemes[parts.scheme], parts.netloc, path, "", ""))
