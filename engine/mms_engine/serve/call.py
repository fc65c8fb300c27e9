"""One request: its client, its admission, its body, and what must be freed at its end."""

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from mms_engine.serve.admission import too_large
from mms_engine.serve.auth import check_scope
from mms_engine.serve.errors import ApiError, deadline_exceeded, invalid
from mms_engine.serve.service import Service
from mms_engine.serve.tracing import TraceSpan

logger = logging.getLogger(__name__)

_RATE = 16 << 10
"""Bytes of a body that extend its time by a second."""
_MAX_FIELDS = 2000
_MAX_FIELD_BYTES = 1 << 20

_Result = TypeVar("_Result")


class ClientLeft(Exception):
    """The client closed the connection; nobody reads the answer."""

    def __init__(self, *, is_clean: bool = False) -> None:
        """Say whether it closed it by itself, so that it will not come back."""
        super().__init__()
        self.is_clean = is_clean


class Call:
    """A request being served."""

    def __init__(self, service: Service, scope: Scope, receive: Receive) -> None:
        self.service = service
        self.headers = Headers(scope=scope)
        self.id = f"req-{uuid.uuid4().hex}"
        self.arrived = time.monotonic()
        self.audio_seconds = 0.0
        """Audio of the request, for the log."""
        self.held = contextlib.AsyncExitStack()
        """Resources to close at the end of the request."""
        self.code = ""
        """Code of the error with which it ended."""
        address = scope.get("client") or ("local", 0)
        self.client = f"address {address[0]}"
        """Name of the client, for fair shares and for logs."""
        self.has_body = self._size() != 0 or "transfer-encoding" in self.headers
        self.body_ended = not self.has_body
        self._receive = receive
        self._held = 0
        self._admitted = False
        self._form: Form | None = None

    def _size(self) -> int | None:
        """Return the declared size of the body; `None` for a body of chunks."""
        if "transfer-encoding" in self.headers:
            return None
        try:
            return int(self.headers.get("content-length", "0"))
        except ValueError:
            return 0

    def authenticate(self, authorization: str | None = None) -> None:
        """Check the key of the request.

        Args:
            authorization: Value in place of that of the header.

        Raises:
            ApiError: 401.
        """
        if authorization is None:
            authorization = self.headers.get("authorization", "")
        self.key = self.service.keyring.find(authorization)
        if self.key is not None:
            self.client = f"key {self.key.name}"

    def allow(self, scope: str, authorization: str | None = None) -> None:
        """Check the scope of the request's key; `authorization` as for `authenticate`.

        Raises:
            ApiError: 401 or 403.
        """
        self.authenticate(authorization)
        check_scope(self.key, scope)

    def admit(self, scope: str) -> None:
        """Check the key and take a place among the running requests, before the body is read.

        Raises:
            ApiError: 401, 403, 413, 429 or 503.
        """
        self.allow(scope)
        self.service.admission.enter(self.client, self._size())
        self._admitted = True

    async def receive(self) -> Message:
        """Return the next message of the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.body_ended = True
        return message

    async def body(self, most: int | None = None) -> AsyncIterator[bytes]:
        """Yield the body, counted before anyone reads it.

        Args:
            most: Bytes it may have, where that is less than the limit of uploads.

        Raises:
            ApiError: 408, 413 or 503.
            ClientLeft: the connection was closed.
        """
        admission, limits = self.service.admission, self.service.config.limits
        begin, received = time.monotonic(), 0
        while not self.body_ended:
            end = begin + limits.body_seconds + received / _RATE
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    message = await self.receive()
            except TimeoutError:
                text = f"the body came too slowly: {received} bytes in {limits.body_seconds:g} s"
                raise ApiError(408, text, code="request_timeout") from None
            if message["type"] == "http.disconnect":
                raise ClientLeft
            chunk = message.get("body", b"")
            received += len(chunk)
            if received > limits.max_upload_bytes:
                raise admission.too_large()
            if most is not None and received > most:
                raise too_large(most, "input")
            admission.take_bytes(len(chunk))
            self._held += len(chunk)
            yield chunk

    async def json(self, kind: type[_Result], most: int) -> _Result:
        """Return the body, an object in JSON of at most `most` bytes, as a `msgspec.Struct`.

        Raises:
            ApiError: 400, 408, 413, 415 or 503.
            ClientLeft: the connection was closed.
        """
        self._check_media("application/json")
        content = bytearray()
        async for chunk in self.body(most):
            content += chunk
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError as error:
            found = re.search(r" - at `\$\.(\w+)", str(error))
            message = str(error).partition(" - at ")[0]
            if found:
                message = f"{found[1]}: {message}"
            param = found[1] if found else None
            raise ApiError(400, message, code="invalid_value", param=param) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            message = f"the body cannot be read as JSON: {error}"
            raise ApiError(400, message, code="invalid_json") from error
        finally:
            self.free_body()

    def _check_media(self, wanted: str) -> None:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != wanted:
            message = f"the body must be {wanted}, not {kind or 'untyped'}"
            raise ApiError(415, message, code="unsupported_media_type")

    async def form(self) -> "Form":
        """Read the body as a form. Files stay in memory, within the limits of bodies.

        Raises:
            ApiError: 400, 408, 413, 415 or 503.
            ClientLeft: the connection was closed.
        """
        self._check_media("multipart/form-data")
        parser = MultiPartParser(
            self.headers,
            self.body(),  # type: ignore[arg-type]  # an async generator
            max_files=1,
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_FIELD_BYTES,
        )
        parser.spool_max_size = self.service.config.limits.max_upload_bytes + 1  # never on disk
        try:
            data = await parser.parse()
        except (MultiPartException, HTTPException) as error:
            raise ApiError(400, f"the form cannot be read: {error}", code="invalid_form") from error
        self._form = Form(data.multi_items())
        return self._form

    async def while_connected(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Return the result of work that is cancelled when the client leaves or gives up.

        Raises:
            ClientLeft: it left.
            ApiError: 503; the deadline has passed.
        """
        task = asyncio.ensure_future(work)
        watch = asyncio.ensure_future(self._disconnected())
        try:
            patience = self.deadline - time.monotonic()
            await asyncio.wait({task, watch}, timeout=patience, return_when="FIRST_COMPLETED")
            if task.done():
                return task.result()
            if watch.done():
                raise ClientLeft
            raise deadline_exceeded()
        finally:
            task.cancel()
            watch.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def _disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def due(self, audio_seconds: float) -> float:
        """Return the time at which a client of so much audio would like its result."""
        return min(self.arrived + 1.0 + audio_seconds, self.deadline)

    @property
    def deadline(self) -> float:
        """Time after which nobody waits for the result."""
        patience = self.service.config.limits.request_seconds
        with contextlib.suppress(ValueError):  # as OpenAI's clients declare it
            patience = min(patience, float(self.headers.get("x-stainless-read-timeout", "inf")))
        return self.arrived + max(0.0, patience)

    def free_body(self) -> None:
        """Free the body, which has been read."""
        if self._form is not None:
            self._form.close()
        self.service.admission.free_bytes(self._held)
        self._held = 0

    def log_text(self, text: str) -> None:
        """Log a text, if the configuration asks for that."""
        if self.service.config.log_text:
            logger.info("%s text: %s", self.id, text)

    def trace(self, span: TraceSpan, method: str, route: str, status: int) -> None:
        """Set the outcome of the request in its span."""
        span.answered(method, route, status, self.code)
        span.set(request_id=self.id, audio_seconds=self.audio_seconds)

    async def close(self) -> None:
        """Free what the request holds."""
        await self.held.aclose()
        self.free_body()
        if self._admitted:
            self._admitted = False
            self.service.admission.leave(self.client)


class Form:
    """Fields of a form, each checked as it is read."""

    def __init__(self, items: list[tuple[str, str | UploadFile]]) -> None:
        self._items = items

    def all(self, name: str) -> list[str]:
        """Return the values of a field, without empty ones.

        Raises:
            ApiError: one is a file.
        """
        values = [value for key, value in self._items if key == name]
        if any(not isinstance(value, str) for value in values):
            raise invalid(f"{name} must be text, not a file", name)
        return [value for value in values if isinstance(value, str) and value.strip()]

    def one(self, name: str, default: str = "") -> str:
        """Return the value of a field, or the default where it is missing or empty.

        Raises:
            ApiError: there are several, or it is a file.
        """
        values = self.all(name)
        if len(values) > 1:
            raise invalid(f"{name} was given {len(values)} times", name)
        return values[0] if values else default

    def file(self, name: str = "file") -> UploadFile:
        """Return the file of a field.

        Raises:
            ApiError: it is missing, empty, or text.
        """
        values = [value for key, value in self._items if key == name]
        if len(values) != 1 or isinstance(values[0], str):
            raise invalid(f"{name} must be one file", name, "missing_file")
        if not values[0].size:
            raise invalid(f"{name} is empty", name, "empty_file")
        return values[0]

    def close(self) -> None:
        """Free the file."""
        for _, value in self._items:
            if isinstance(value, UploadFile):
                value.file.close()


def call_of(request: Request) -> Call:
    """Return the call of a request."""
    call: Call = request.scope["mms.call"]
    return call
