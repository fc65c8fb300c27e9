"""Plain text and JSON of a transcript."""

import dataclasses

import msgspec

from mms_engine.system import printable
from mms_engine.types import Transcript

_FIELDS = tuple(field.name for field in dataclasses.fields(Transcript))


def text(transcript: Transcript, name: str) -> str:
    """Return the text on one line."""
    del name
    return transcript.text + "\n"


def json(transcript: Transcript, name: str) -> str:
    """Return the recording's name as `file`, then the transcript's fields, on one line."""
    fields = {field: getattr(transcript, field) for field in _FIELDS}
    return msgspec.json.encode({"file": printable(name), **fields}).decode() + "\n"
