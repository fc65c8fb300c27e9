"""Formats that need no library: text, JSON, CTM."""

import dataclasses

import msgspec

from mms_engine.types import Transcript


def text(transcript: Transcript, name: str) -> str:
    """Return the text alone, on one line."""
    del name
    return transcript.text + "\n"


def json(transcript: Transcript, name: str) -> str:
    """Return the transcript's fields, after the recording's name as `file`, on one line."""
    fields = {field.name: getattr(transcript, field.name) for field in _FIELDS}
    return msgspec.json.encode({"file": name, **fields}).decode() + "\n"


_FIELDS = dataclasses.fields(Transcript)


def ctm(transcript: Transcript, name: str) -> str:
    """Return NIST CTM: recording, channel, start, length, word, confidence; a line a word."""
    recording = "_".join(name.split()) or "-"
    return "".join(
        f"{recording} 1 {word.start:.3f} {word.end - word.start:.3f} "
        f"{word.text} {word.confidence:.3f}\n"
        for word in transcript.words
    )
