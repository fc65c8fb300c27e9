"""Text of an utterance, and what of it is settled and new with each event of its stream."""

from mms_engine.asr.streaming import Event, Final, LanguageChange, Partial
from mms_engine.text.segmentation import is_by_character


class UtteranceText:
    """Text so far. What `take` has returned never changes: joined, it is the text at the end."""

    def __init__(self, language: str | None) -> None:
        """Begin with nothing; `language` is `None` while it is not known."""
        self.text = ""
        """Finished passages, divided by pauses."""
        self._sent = ""
        self._use(language)

    def _use(self, language: str | None) -> None:
        self.language = language
        """Code of the last language with an adapter; `None` while it is not known."""
        self._separator = "" if language is not None and is_by_character(language) else " "

    def take(self, event: Event) -> str:
        """Return the settled text that an event adds, perhaps none."""
        if isinstance(event, LanguageChange):
            self._use(event.language or self.language)
        elif isinstance(event, Partial):
            return self._grown(self._joined(event.stable))
        elif isinstance(event, Final):
            self.text = self._joined(event.transcript.text)
            return self._grown(self.text)
        return ""

    def _joined(self, passage: str) -> str:
        return self._separator.join(filter(None, (self.text, passage)))

    def _grown(self, text: str) -> str:
        if not text.startswith(self._sent):
            return ""
        grown, self._sent = text[len(self._sent) :], text
        return grown
