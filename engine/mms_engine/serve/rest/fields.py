"""Fields that several routes have in common, and their description for OpenAPI."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile

from mms_engine.errors import AudioError
from mms_engine.serve.call import Form
from mms_engine.serve.errors import invalid

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
FILE = {
    "type": "string",
    "format": "binary",
    "description": "Audio in any format that FFmpeg reads.",
}
LANGUAGE = {
    "type": "string",
    "description": "Code (ISO 639-1, ISO 639-3, BCP 47, MMS) or name of the language. Empty or "
    "missing: identified, where a bundle of identification is open.",
}
ERROR_STATUSES = (400, 401, 403, 404, 408, 413, 415, 429, 500, 503)


def boolean(form: Form, name: str) -> bool:
    """Return a field that is true or false; false where it is missing.

    Raises:
        ApiError: it is neither.
    """
    given = form.one(name, "false").lower()
    if given not in _BOOLEANS:
        raise invalid(f"{name} must be true or false, not {given!r}", name)
    return _BOOLEANS[given]


def values(form: Form, name: str) -> list[str]:
    """Return a field that may be given several times, as `name[]` or `name`."""
    return form.all(f"{name}[]") + form.all(name)


def choice(form: Form, name: str, choices: tuple[str, ...]) -> str:
    """Return a field with one of several values, by default the first.

    Raises:
        ApiError: it has another value.
    """
    return one_of(form.one(name, choices[0]), name, choices)


def one_of(given: str, name: str, choices: tuple[str, ...]) -> str:
    """Return a value that is one of several.

    Raises:
        ApiError: it is another.
    """
    if given not in choices:
        raise invalid(f"{name} must be one of {', '.join(choices)}, not {given[:100]!r}", name)
    return given


def recording_name(upload: UploadFile) -> str:
    """Return the name of an upload without folders and suffix, for formats that contain it."""
    name = (upload.filename or "").replace("\\", "/").rpartition("/")[2]
    kept = "".join(c for c in name.rpartition(".")[0] or name if c.isprintable())
    return kept[:100] or "audio"


def named(error: AudioError) -> AudioError:
    """Return an audio error that speaks of the upload."""
    return AudioError(str(error).replace("the stream", "the file"))


def form_body(properties: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    """Return the description of a route with a form, for OpenAPI."""
    return body_of("multipart/form-data", properties, required)


def body_of(media: str, properties: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    """Return the description of a route with a body, for OpenAPI."""
    schema = {"type": "object", "properties": dict(properties), "required": list(required)}
    envelope = {"type": "object", "properties": {"error": {"type": "object"}}}
    error = {"description": "Error", "content": {"application/json": {"schema": envelope}}}
    return {
        "requestBody": {"required": True, "content": {media: {"schema": schema}}},
        "responses": {str(status): error for status in ERROR_STATUSES},
    }
