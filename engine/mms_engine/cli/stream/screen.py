"""Output of a stream's events: lines of JSON, or a growing line on a terminal."""

import shutil
import sys
from collections.abc import Sequence

import msgspec

from mms_engine.asr.streaming import Event, Final, LanguageChange, Partial
from mms_engine.asr.streaming.events import event_fields

_DIM, _PLAIN, _CLEAR = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


def _language(event: LanguageChange) -> str:
    lacking = "" if event.language else ", which has no adapter: no text (--nearest takes another)"
    return f"[{event.language or event.label} {event.probability:.0%}{lacking}]"


class Lines:
    """Printer of one line of JSON per event."""

    def __call__(self, events: Sequence[Event]) -> None:
        """Print events and flush."""
        for event in events:
            sys.stdout.write(msgspec.json.encode(event_fields(event)).decode() + "\n")
        sys.stdout.flush()


class Screen:
    """Printer of one line per utterance; text of the current one that may change is dim."""

    def __call__(self, events: Sequence[Event]) -> None:
        """Print events and flush."""
        for event in events:
            if isinstance(event, Partial):
                self._partial(event)
            elif isinstance(event, Final):
                sys.stdout.write(f"{_CLEAR}{event.transcript.text}\n")
            elif isinstance(event, LanguageChange):
                sys.stdout.write(f"{_CLEAR}{_DIM}{_language(event)}{_PLAIN}\n")
        sys.stdout.flush()

    def _partial(self, event: Partial) -> None:
        room = shutil.get_terminal_size().columns - 1
        hidden = max(0, len(event.text) - room)
        stable = max(0, event.stable_chars - hidden)
        shown = event.text[hidden:]
        sys.stdout.write(f"{_CLEAR}{shown[:stable]}{_DIM}{shown[stable:]}{_PLAIN}")
