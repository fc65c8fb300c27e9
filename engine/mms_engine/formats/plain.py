"""Plain text, JSON and CTM."""

import dataclasses

import msgspec

from mms_engine.types import Transcript

_FIELDS = tuple(field.name for field in dataclasses.fields(Transcript))


def text(transcript: Transcript, name: str) -> str:
    """Return the text on one line."""
    del name
    return transcript.text + "\n"


def json(transcript: Transcript, name: str) -> str:
    """Return the recording's name as `file`, then the transcript's fields, on one line."""
    fields = {field: getattr(transcript, field) for field in _FIELDS}
    return msgspec.json.encode({"file": name, **fields}).decode() + "\n"


def ctm(transcript: Transcript, name: str) -> str:
    """Return NIST CTM: recording, channel, start, duration, word, confidence; one line per word."""
    recording = "_".join(name.split()) or "-"
    return "".join(
        f"{recording} 1 {word.start:.3f} {word.end - word.start:.3f} "
        f"{word.text} {word.confidence:.3f}\n"
        for word in transcript.words
    )
