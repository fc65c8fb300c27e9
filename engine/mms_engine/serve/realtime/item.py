"""Item of a realtime session, and the state of all of them for another server."""

from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct

from mms_engine.types import Transcript

Fields = dict[str, Any]
"""Event of the wire, without its id."""
Ending = Literal["commit", "clear", "idle"]
"""Reason that ends an item at a requested end of an utterance."""


@dataclass(slots=True, eq=False)
class Item:
    """Turn of a speaker. Times are in seconds from the start of the session."""

    id: str
    start: float
    end: float = 0.0
    parts: list[Transcript] = field(default_factory=list)
    """Finished utterances."""
    words: list[Fields] = field(default_factory=list)
    """Their words."""
    sent: str = ""
    """Text of the deltas."""
    unstable: str = ""
    """Unstable text that was shown last."""
    is_announced: bool = False
    """Whether the start of speech was sent."""
    is_committed: bool = False
    is_done: bool = False
    is_identified: bool = False
    """Whether its language was found by the stream."""
    previous: str | None = None
    """Item committed before it."""
    error: Fields | None = None
    """Why audio of the item was not transcribed, as in the envelope of errors."""

    @property
    def text(self) -> str:
        """Text of the finished utterances."""
        return " ".join(part.text for part in self.parts)

    def wire(self, kind: str) -> Fields:
        """Return an event with it as an item of a conversation."""
        item = {
            "id": self.id,
            "object": "realtime.item",
            "type": "message",
            "status": "incomplete" if self.error else "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": self.text if self.is_done else None}],
        }
        return {"type": kind, "previous_item_id": self.previous, "item": item}


class SavedItems(Struct):
    """State of `Items`. Items are named by their place in `items`."""

    items: list[Item]
    spoken: int | None
    appended: int | None
    marks: list[tuple[Ending, int | None]]
    final: Transcript | None
    warnings: list[str]
    seconds: float
    offset: float
    last: str | None
    last_end: float
    quiet_since: float
