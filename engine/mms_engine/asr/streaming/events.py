"""Events of a stream: immutable values with a `type`."""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from mms_engine.types import Transcript, Word

EndReason = Literal["silence", "pause", "length", "language", "flush", "end", "error"]
"""Reason for the end of an utterance: silence before any speech, a pause after speech, the maximum
length, a change of language, `flush`, the end of the stream, or frames that could not be
decoded."""


@dataclass(frozen=True, slots=True)
class Partial:
    """Text of the current utterance so far."""

    type: Literal["partial"] = field(default="partial", init=False)
    text: str
    words: tuple[Word, ...]
    """Times in seconds from the start of the stream; the last word may be incomplete."""
    stable_chars: int
    """Leading characters of `text` that every later event of this utterance begins with."""
    audio_seconds: float
    """Seconds of audio fed up to this event."""
    wall_seconds: float
    """Time of the event on the clock of `time.monotonic`."""

    @property
    def stable(self) -> str:
        """Final part of the text."""
        return self.text[: self.stable_chars]


@dataclass(frozen=True, slots=True)
class Final:
    """Transcript of a finished utterance."""

    type: Literal["final"] = field(default="final", init=False)
    transcript: Transcript
    """Times of its words are in seconds from the start of the stream."""
    start: float
    """Start of the utterance, in seconds from the start of the stream."""
    audio_seconds: float
    """Seconds of audio fed up to this event."""
    wall_seconds: float
    """Time of the event on the clock of `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """End of an utterance, right after its `Final` if there is text."""

    type: Literal["endpoint"] = field(default="endpoint", init=False)
    reason: EndReason
    at: float
    """End of the utterance, in seconds from the start of the stream."""
    audio_seconds: float
    """Seconds of audio fed up to this event."""
    wall_seconds: float
    """Time of the event on the clock of `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class LanguageChange:
    """Identified language of a stream, the first one or another."""

    type: Literal["language"] = field(default="language", init=False)
    language: str | None
    """Code of the adapter from now on; `None` for a language without one, which has no text."""
    label: str
    """Label of the identification model: ISO 639-3."""
    probability: float
    """Probability among the languages to choose from, in [0, 1]."""
    at: float
    """Time from which it applies, in seconds from the start of the stream. Text of the current
    utterance behind it is replaced."""
    audio_seconds: float
    """Seconds of audio fed up to this event."""
    wall_seconds: float
    """Time of the event on the clock of `time.monotonic`."""


Event = Partial | Final | Endpoint | LanguageChange


def event_fields(event: Event) -> dict[str, Any]:
    """Return the fields of an event, `type` first; those of a transcript beside the others."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    if isinstance(event, Final):
        transcript = fields.pop("transcript")
        for name in ("missing", "warnings", "segments"):  # of recordings
            del transcript[name]
        if transcript["language_probability"] is None:
            del transcript["language_probability"]
        fields |= transcript
    return fields


def read_event(fields: dict[str, Any]) -> Event | None:
    """Return the event whose fields `event_fields` returned; `None` for another object.

    Raises:
        ValueError: a field is missing or wrong.
    """
    kinds: dict[Any, type[Any]] = {
        "partial": Partial, "final": Final, "endpoint": Endpoint, "language": LanguageChange,
    }  # fmt: skip
    kind = kinds.get(fields.get("type"))
    if kind is None:
        return None
    try:
        known = {name: fields[name] for name in kind.__slots__ if name in fields}
        del known["type"]
        if kind is Partial:
            known["words"] = msgspec.convert(fields["words"], tuple[Word, ...])
        if kind is Final:
            known["transcript"] = msgspec.convert(fields, Transcript)
        event: Event = kind(**known)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise ValueError(f"an event {fields.get('type')} is not complete: {error}") from error
    return event
