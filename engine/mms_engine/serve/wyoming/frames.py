"""Events of the Wyoming protocol on a connection, with bounds that the `wyoming` package lacks."""

import asyncio
from typing import Annotated, Any, TypeVar

import msgspec
from wyoming.event import Event
from wyoming.version import __version__ as wyoming_version

from mms_engine.serve.errors import ApiError

MAX_HEADER_BYTES = 64 << 10
"""Length of the line of JSON that an event begins with."""
MAX_DATA_BYTES = 256 << 10
"""Length of the JSON that may follow the line."""
MAX_PAYLOAD_BYTES = 1 << 20
"""Length of the audio that may follow: 32 s at 16 kHz and 16 bits."""

_Length = Annotated[int, msgspec.Meta(ge=0)]
_Kind = TypeVar("_Kind")


class _Header(msgspec.Struct):
    type: str
    data: dict[str, Any] | None = None
    data_length: _Length | None = None
    payload_length: _Length | None = None


class EventReader:
    """Reader of one client's events. Lengths are checked before anything of them is read."""

    def __init__(self, stream: asyncio.StreamReader, seconds: float) -> None:
        """Take over a stream whose limit is `MAX_HEADER_BYTES`.

        Args:
            stream: Bytes of the client.
            seconds: Time for the rest of an event once its first byte has come.
        """
        self._stream = stream
        self._seconds = seconds

    async def read(self, idle_seconds: float) -> Event | None:
        """Return the next event; `None` at the end of the connection.

        Args:
            idle_seconds: Time for its first byte.

        Raises:
            TimeoutError: that did not come; more can be read.
            ApiError: it is not an event, too long or too slow; nothing more can be read.
        """
        try:
            async with asyncio.timeout(idle_seconds) as patience:
                first = await self._stream.read(1)
        except OSError:
            if patience.expired():
                raise
            return None
        if not first:
            return None
        try:
            async with asyncio.timeout(self._seconds):
                return await self._rest(first)
        except TimeoutError:
            message = f"an event was not whole within {self._seconds:g} s"
            raise ApiError(408, message, code="request_timeout") from None
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def _rest(self, first: bytes) -> Event:
        try:
            line = first if first == b"\n" else first + await self._stream.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise _too_long("the line of an event", None, MAX_HEADER_BYTES) from None
        header = _decode(line, _Header)
        data, payload = dict(header.data or {}), None
        if header.data_length:
            if header.data_length > MAX_DATA_BYTES:
                raise _too_long("the data of an event", header.data_length, MAX_DATA_BYTES)
            content = await self._stream.readexactly(header.data_length)
            data.update(_decode(content, dict[str, Any]))
        if header.payload_length:
            if header.payload_length > MAX_PAYLOAD_BYTES:
                raise _too_long("the payload of an event", header.payload_length, MAX_PAYLOAD_BYTES)
            payload = await self._stream.readexactly(header.payload_length)
        return Event(header.type, data, payload)


def event_bytes(event: Event) -> bytes:
    """Return an event as it is sent."""
    header: dict[str, Any] = {"type": event.type, "version": wyoming_version}
    data = msgspec.json.encode(event.data) if event.data else b""
    payload = event.payload or b""
    if data:
        header["data_length"] = len(data)
    if payload:
        header["payload_length"] = len(payload)
    return b"".join((msgspec.json.encode(header), b"\n", data, payload))


def _decode(content: bytes, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ApiError(400, f"an event cannot be read: {error}", code="invalid_event") from error


def _too_long(what: str, length: int | None, limit: int) -> ApiError:
    size = "longer" if length is None else f"{length} bytes, more"
    return ApiError(413, f"{what} is {size} than {limit} bytes, the limit", code="event_too_large")
