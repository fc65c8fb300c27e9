"""Admission: requests are refused before their body is read, not when memory is short."""

from collections import Counter
from collections.abc import Callable

from mms_engine.serve.config import Limits
from mms_engine.serve.errors import ApiError


class Admission:
    """Counts of what is being served. Used on the event loop only."""

    def __init__(self, limits: Limits, backlog: Callable[[], float]) -> None:
        """Begin with nothing.

        Args:
            limits: Bounds.
            backlog: Returns the seconds until all that waits is done.
        """
        self._limits = limits
        self._backlog = backlog
        self._by_client: Counter[str] = Counter()
        self.upload_bytes = 0
        """Bytes of bodies in memory."""
        self.is_draining = False
        """Whether the server ends, and takes no further requests."""

    @property
    def requests(self) -> int:
        """Requests being served."""
        return self._by_client.total()

    def enter(self, client: str, size: int | None) -> None:
        """Count a request, or refuse it; `leave` must follow.

        Args:
            client: Key or address.
            size: Declared size of the body in bytes; `None` if there is no declaration.

        Raises:
            ApiError: 413, 429 or 503.
        """
        limits = self._limits
        self.check_draining()
        if size is not None and size > limits.max_upload_bytes:
            raise self.too_large()
        wait = self._backlog()
        if self.requests >= limits.max_requests:
            message = f"the server has {limits.max_requests} requests, its limit"
            raise ApiError(429, message, code="overloaded", retry_after=_patience(wait))
        if self._by_client[client] >= limits.max_client_requests:
            message = f"this client has {limits.max_client_requests} requests, its limit"
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after=_patience(wait))
        if wait > limits.max_wait_seconds:
            message = f"the wait would be about {wait:.0f} s"
            raise ApiError(429, message, code="overloaded", retry_after=_patience(wait))
        self._by_client[client] += 1

    def check_draining(self) -> None:
        """Refuse what is new while the server ends.

        Raises:
            ApiError: 503.
        """
        if self.is_draining:
            raise ApiError(503, "the server is ending", code="draining", retry_after=1)

    def leave(self, client: str) -> None:
        """Count a request as ended."""
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def take_bytes(self, count: int) -> None:
        """Count bytes of a body that will be held in memory; `free_bytes` must follow.

        Raises:
            ApiError: 503; nothing was counted.
        """
        if self.upload_bytes + count > self._limits.max_uploads_bytes:
            message = "the server holds as many uploads as it may"
            raise ApiError(503, message, code="overloaded", retry_after=_patience(self._backlog()))
        self.upload_bytes += count

    def free_bytes(self, count: int) -> None:
        """Count bytes as freed."""
        self.upload_bytes -= count

    def too_large(self) -> ApiError:
        """Return the error for a body over the limit of uploads."""
        return too_large(self._limits.max_upload_bytes, "file")


def too_large(most: int, param: str) -> ApiError:
    """Return the error for a body of more than `most` bytes."""
    message = f"the request is larger than {most} bytes"
    return ApiError(413, message, code="request_too_large", param=param)


def _patience(wait: float) -> float:
    """Return the seconds after which a refused client is to come back."""
    return min(max(1.0, wait / 2), 30.0)
