"""Plain text and JSON of a transcript."""

import dataclasses

import msgspec

from mms_engine.system import printable
from mms_engine.types import UNDETERMINED, Transcript

_FIELDS = tuple(field.name for field in dataclasses.fields(Transcript))
_IDENTIFIED = ("language_probability", "segments")
"""Fields of a transcript whose language was identified."""


def text(transcript: Transcript, name: str) -> str:
    """Return the text on one line."""
    del name
    return transcript.text + "\n"


def json(transcript: Transcript, name: str) -> str:
    """Return the recording's name as `file`, then the transcript's fields, on one line.

    Those of an identified language are left out where the caller gave the language.
    """
    fields = {field: getattr(transcript, field) for field in _FIELDS}
    if not transcript.segments and transcript.language != UNDETERMINED:
        for name_of_field in _IDENTIFIED:
            del fields[name_of_field]
    return msgspec.json.encode({"file": printable(name), **fields}).decode() + "\n"
