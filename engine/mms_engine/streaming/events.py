"""What a stream tells its listener. Values: nothing changes after it was given out."""

from dataclasses import dataclass
from typing import Literal

from mms_engine.types import Transcript, Word

EndReason = Literal["silence", "pause", "length", "flush", "end"]
"""Why an utterance ended: silence before anything was said, a pause after speech, its greatest
length, `flush`, or the end of the stream."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The utterance that is being spoken, as far as it was heard."""

    text: str
    words: tuple[Word, ...]
    """In seconds from the start of the stream; the last may still be growing."""
    stable_chars: int
    """Leading characters of `text` that every later event of this utterance begins with."""
    audio_seconds: float
    """Audio that was heard for it, from the start of the stream."""
    wall_seconds: float
    """When it was made, on the clock of `time.monotonic`."""

    @property
    def stable(self) -> str:
        """The part of the text that is final."""
        return self.text[: self.stable_chars]


@dataclass(frozen=True, slots=True)
class Final:
    """An utterance that is finished."""

    transcript: Transcript
    """Its words are in seconds from the start of the stream."""
    start: float
    """Seconds from the start of the stream to that of the utterance."""
    audio_seconds: float
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an utterance ended; its `Final`, if anything was said, comes right before."""

    reason: EndReason
    at: float
    """Seconds from the start of the stream."""
    audio_seconds: float
    wall_seconds: float


Event = Partial | Final | Endpoint
