"""Errors of the REST interface, in the envelope that OpenAI's clients read."""

import logging
import math
from typing import Any

from mms_engine.errors import (
    AlignmentError,
    AudioError,
    BackendError,
    LanguageError,
    LanguageModelError,
    MmsError,
    StreamError,
    TextError,
)

logger = logging.getLogger(__name__)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_CLIENT_ERRORS: tuple[tuple[type[MmsError], str, str | None], ...] = (
    (AudioError, "invalid_audio", "file"),
    (LanguageError, "unsupported_language", "language"),
    (LanguageModelError, "invalid_hotwords", "keywords[]"),
    (TextError, "invalid_text", "text"),
    (AlignmentError, "invalid_alignment", "text"),
    (StreamError, "stream_failed", None),
)
"""Errors that the client can correct: their code, and the field."""


class ApiError(Exception):
    """An answer other than success."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Describe an answer.

        Args:
            status: HTTP status.
            message: Text for the developer of the client.
            code: Word for the client.
            param: Field that is wrong.
            retry_after: Seconds until another attempt may succeed.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        if self.retry_after is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}

    def envelope(self) -> dict[str, Any]:
        """Return the body."""
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, default),
                "param": self.param,
                "code": self.code,
            }
        }


def invalid(message: str, param: str, code: str = "invalid_value") -> ApiError:
    """Return the error for a field with a value that cannot be used."""
    return ApiError(400, message, code=code, param=param)


def missing_task(task: str) -> ApiError:
    """Return the error of a route whose task has no open bundle."""
    message = f"this server has no bundle of {task}: start it with one more --bundle"
    return ApiError(404, message, code="task_not_available")


def deadline_exceeded() -> ApiError:
    """Return the error for a request that was not served in time."""
    message = "the request was not served before its deadline"
    return ApiError(503, message, code="deadline_exceeded", retry_after=5)


def api_error(error: BaseException) -> ApiError:
    """Return the answer for any error. Those of the server are logged, and not shown."""
    if isinstance(error, ApiError):
        return error
    for kind, code, param in _CLIENT_ERRORS:
        if isinstance(error, kind):
            return ApiError(400, str(error), code=code, param=param)
    logger.error("a request failed", exc_info=error)
    if isinstance(error, BackendError):
        return ApiError(503, "the device failed", code="device_error", retry_after=5)
    return ApiError(500, "the server failed; its log has the cause", code="internal_error")
