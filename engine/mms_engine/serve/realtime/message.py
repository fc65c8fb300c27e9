"""Messages of realtime clients, read without building what no message has."""

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from mms_engine.serve.errors import ApiError

MAX_AUDIO_BYTES = 15 << 20
"""Audio of one event, as at OpenAI."""
_MAX_SESSION_BYTES = 256 << 10
_MAX_ID_CHARACTERS = 512


class _Identified(Struct, kw_only=True):
    event_id: str | None = None

    @property
    def id(self) -> str | None:
        """Id that the client gave the message, or the beginning of a long one."""
        return self.event_id[:_MAX_ID_CHARACTERS] if self.event_id else None


class Message(_Identified):
    """A message of a client. Fields that no message has are passed over."""

    type: str
    audio: bytes | UnsetType | None = UNSET
    """Content of a string in base64."""
    session: Raw | UnsetType = UNSET

    def update(self) -> Any:  # noqa: ANN401
        """Return the update of a session, as JSON values.

        Raises:
            ApiError: 400; it is missing or too long.
        """
        if self.session is UNSET:
            raise _missing("session")
        if len(bytes(self.session)) > _MAX_SESSION_BYTES:
            message = f"session is longer than {_MAX_SESSION_BYTES} bytes"
            raise ApiError(400, message, code="string_above_max_length", param="session")
        return msgspec.json.decode(self.session)

    def content(self) -> bytes:
        """Return the audio.

        Raises:
            ApiError: 400; it is missing or too long.
        """
        if self.audio is UNSET or self.audio is None:
            raise _missing("audio")
        if len(self.audio) > MAX_AUDIO_BYTES:
            message = f"audio is longer than {MAX_AUDIO_BYTES} bytes: append it in parts"
            raise ApiError(400, message, code="string_above_max_length", param="audio")
        return self.audio


def read_message(received: str | bytes) -> Message:
    """Return a message.

    Raises:
        ApiError: 400; it is not one.
    """
    if not isinstance(received, str):
        raise ApiError(400, "messages are JSON in text frames, not binary", code="invalid_frame")
    try:
        return msgspec.json.decode(received, type=Message)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ApiError(400, f"the message is not JSON: {error}", code="invalid_json") from error


def message_id(received: str | bytes) -> str | None:
    """Return the id that the client gave a message, which may be one that cannot be read."""
    try:
        return msgspec.json.decode(received, type=_Identified).id
    except (msgspec.DecodeError, RecursionError):
        return None


def _invalid(text: str) -> ApiError:
    if re.search("missing required field `type`", text):
        return _missing("type")
    reason, _, path = text.partition(" - at `$.")
    if not path:
        return ApiError(400, "the message is not a JSON object", code="invalid_json")
    name = path.removesuffix("`")
    message = f"{name}: {reason.replace('`', '')}".replace("Expected bytes", "Expected base64")
    code = "invalid_type" if "Expected" in reason else "invalid_value"
    return ApiError(400, message, code=code, param=name)


def _missing(name: str) -> ApiError:
    return ApiError(400, f"{name} is missing", code="missing_required_parameter", param=name)
