"""Items of a realtime session: events of the engine in, events of the wire out.

All events of an item precede the first delta of the next one, and deltas only add text.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mms_engine.asr.streaming.events import Endpoint, Event, Final, LanguageChange, Partial
from mms_engine.serve.errors import ApiError
from mms_engine.serve.realtime.item import Ending, Fields, Item, SavedItems
from mms_engine.serve.realtime.plan import Plan
from mms_engine.serve.rest.results import word_logprobs
from mms_engine.types import Transcript, Word

_BUFFER = "input_audio_buffer."
_TRANSCRIPTION = "conversation.item.input_audio_transcription."
COMPLETED = _TRANSCRIPTION + "completed"


def error_event(error: ApiError, event_id: str | None = None) -> Fields:
    """Return the event of an error; `event_id` is that of the message that caused it."""
    return {"type": "error", "error": {**error.envelope()["error"], "event_id": event_id}}


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """Requested end of an utterance, which the engine has not carried out yet."""

    kind: Ending
    item: Item | None
    """Item that ends there; `None` for whichever is running."""


class Items:
    """State machine of the items of one session.

    The audio of a stream is announced by `begin` and `append`; `commit`, `clear` and an idle time
    ask for an end, and the caller then flushes the stream. Without a stream nothing waits.
    """

    def __init__(self, new_id: Callable[[str], str]) -> None:
        """Begin without items; `new_id` returns an id with a prefix."""
        self.seconds = 0.0
        """Audio appended."""
        self.details = False
        """Whether deltas show unstable text and words."""
        self.logprobs = False
        self._new_id = new_id
        self._plan: Plan | None = None
        self._offset = 0.0
        """Start of the stream."""
        self._spoken: Item | None = None
        """Running item of a stream with turn detection."""
        self._appended: Item | None = None
        """Item that the client will commit."""
        self._marks: deque[_Mark] = deque()
        self._final: Transcript | None = None
        """Finished utterance whose endpoint follows."""
        self._warnings: Sequence[str] = ()
        self._last: str | None = None
        """Item committed last."""
        self._last_end = 0.0
        self._quiet_since = 0.0

    @property
    def pending(self) -> int:
        """Requested ends that the engine has not carried out."""
        return len(self._marks)

    @property
    def uncommitted_seconds(self) -> float:
        """Audio that waits for a commit of the client."""
        return 0.0 if self._appended is None else self.seconds - self._appended.start

    @property
    def is_quiet(self) -> bool:
        """Whether no text has been heard that an item waits for the end of."""
        item = self._appended or self._spoken
        return not self._marks and (item is None or not (item.is_announced or item.sent))

    @property
    def is_empty(self) -> bool:
        """Whether no audio waits for a commit of the client."""
        return self._appended is None

    def begin(self, plan: Plan) -> None:
        """Take the audio from here on as that of a new stream."""
        self._plan, self._offset = plan, self.seconds
        self._quiet_since = self.seconds

    def append(self, seconds: float) -> list[Fields]:
        """Count audio of the stream. With an event in the result, the caller flushes."""
        plan = self._current
        if plan.is_manual and self._appended is None and seconds > 0:
            self._appended = Item(self._new_id("item"), self.seconds)
        self.seconds += seconds
        if plan.idle_seconds is None or self._spoken is not None or self._marks:
            return []
        start = max(self._last_end, self._quiet_since)
        if self.seconds - start < plan.idle_seconds:
            return []
        item = Item(self._new_id("item"), start)
        self._quiet_since = self.seconds
        self._marks.append(_Mark("idle", item))
        times = {"audio_start_ms": _ms(start), "audio_end_ms": _ms(self.seconds)}
        return [{"type": _BUFFER + "timeout_triggered", **times, "item_id": item.id}]

    def commit(self) -> list[Fields]:
        """End the running item; the caller flushes the stream, if there is one."""
        item, self._appended = self._appended, None
        if self._plan is not None:
            self._marks.append(_Mark("commit", item))
        if item is None:
            return []
        item.end = self.seconds
        return self._commit(item) if self._plan is not None else self._complete(item)

    def drop(self) -> None:
        """Forget a stream that could not be opened, and its audio."""
        self._plan = self._appended = None
        self._marks.clear()

    def clear(self) -> list[Fields]:
        """Drop the running item; the caller flushes the stream, if there is one."""
        item, self._appended, self._final = self._appended, None, None
        events: list[Fields] = []
        if self._plan is not None:
            self._marks.append(_Mark("clear", item))
        if self._spoken is not None:
            self._spoken.end = self._last_end = self.seconds
            events.append(self._stopped(self._spoken))
            self._spoken = None
        return [*events, {"type": _BUFFER + "cleared"}]

    def event(self, event: Event, warnings: Sequence[str] = ()) -> list[Fields]:
        """Take an event of the stream, whose warnings are shown with the details."""
        self._warnings = warnings
        if self._marks and self._marks[0].kind == "clear":
            if isinstance(event, Endpoint) and event.reason == "flush":
                self._marks.popleft()
            return []
        if isinstance(event, Partial):
            return self._partial(event)
        if isinstance(event, Final):
            self._final = event.transcript
            return []
        if isinstance(event, LanguageChange):
            return self._changed(event)
        return self._ended(event)

    def end(self, error: ApiError | None = None) -> list[Fields]:
        """End the stream; an item that the client has not committed goes on in the next.

        Args:
            error: Why the stream failed.
        """
        self._plan = self._final = None
        if error is None:
            return []
        reason = error.envelope()["error"]
        waiting = [one.item for one in self._marks if one.kind != "clear"]
        self._marks.clear()
        if self._spoken is not None and self._spoken not in waiting:
            waiting.append(self._spoken)
        self._spoken = None
        events: list[Fields] = []
        for item in waiting:
            if item is not None and not item.is_done:
                item.error, item.end = reason, item.end or self.seconds
                events += self._complete(item)
        if self._appended is not None:
            self._appended.error = reason
            return events  # it is reported when it is committed
        return events or [error_event(error)]

    def save(self) -> SavedItems:
        """Return the state, for `restore`."""
        used = [self._spoken, self._appended, *(mark.item for mark in self._marks)]
        items = list(dict.fromkeys(item for item in used if item is not None))

        def place(item: Item | None) -> int | None:
            return None if item is None else items.index(item)

        return SavedItems(
            items=items,
            spoken=place(self._spoken),
            appended=place(self._appended),
            marks=[(mark.kind, place(mark.item)) for mark in self._marks],
            final=self._final,
            warnings=list(self._warnings),
            seconds=self.seconds,
            offset=self._offset,
            last=self._last,
            last_end=self._last_end,
            quiet_since=self._quiet_since,
        )

    def restore(self, saved: SavedItems, plan: Plan | None) -> None:
        """Go on from a saved state; `plan` is that of the stream, if there is one.

        Raises:
            ValueError: the state is damaged.
        """

        def item(place: int | None) -> Item | None:
            if place is not None and not 0 <= place < len(saved.items):
                raise ValueError(f"no item {place} of {len(saved.items)}")
            return None if place is None else saved.items[place]

        self._plan = plan
        self._spoken, self._appended = item(saved.spoken), item(saved.appended)
        self._marks = deque(_Mark(kind, item(place)) for kind, place in saved.marks)
        self._final, self._warnings = saved.final, saved.warnings
        self.seconds, self._offset = saved.seconds, saved.offset
        self._last, self._last_end = saved.last, saved.last_end
        self._quiet_since = saved.quiet_since

    @property
    def _current(self) -> Plan:
        if self._plan is None:
            raise RuntimeError("no stream has begun")
        return self._plan

    def _target(self) -> Item | None:
        """Return the item that text of the stream belongs to, if it exists."""
        marked = self._marks[0].item if self._marks else None
        if self._current.is_manual:
            return marked or self._appended
        if self._spoken is None and marked is not None and not marked.is_done:
            self._spoken = marked
        return self._spoken

    def _speaking(self, start: float) -> tuple[Item, list[Fields]]:
        """Return the item of text that was found, which may begin with it."""
        item = self._target()
        if item is None:
            begin = self._offset + start - self._current.prefix_seconds
            item = self._spoken = Item(self._new_id("item"), max(self._last_end, begin))
        if item.is_announced or self._current.is_manual:
            return item, []
        item.is_announced = True
        started = {"type": _BUFFER + "speech_started", "audio_start_ms": _ms(item.start)}
        return item, [{**started, "item_id": item.id}]

    def _partial(self, partial: Partial) -> list[Fields]:
        # Text of the right context alone may vanish again: it begins no turn.
        shown = partial.stable if self._current.options.tentative else partial.text
        if self._target() is None and not shown:
            return []
        item, events = self._speaking(partial.words[0].start if partial.words else 0.0)
        return events + self._delta(item, partial.text, partial.stable_chars, partial.words)

    def _delta(self, item: Item, text: str, stable: int, words: Sequence[Word]) -> list[Fields]:
        before = item.text + " " if item.parts and text else item.text
        known = max(0, len(item.sent) - len(before))
        settled = before + text[:stable] if stable else item.text
        new = settled[len(item.sent) :] if settled.startswith(item.sent) else ""
        item.sent += new
        fields = {"item_id": item.id, "content_index": 0, "delta": new}
        delta = {"type": _TRANSCRIPTION + "delta", **fields}
        if not self.details:
            return [delta] if new else []
        if not new and text[stable:] == item.unstable:
            return []
        item.unstable = text[stable:]
        shown = self._words(_from(words, text, known))
        return [{**delta, "x_mms": {"unstable": item.unstable, "words": shown}}]

    def _changed(self, change: LanguageChange) -> list[Fields]:
        item = self._spoken
        if item is None or change.language is not None:
            return []
        item.end = max(item.start, self._offset + change.at)
        return self._complete(item)  # its text was in no language of the model

    def _ended(self, endpoint: Endpoint) -> list[Fields]:
        final, self._final = self._final, None
        started: list[Fields] = []
        rest: list[Fields] = []
        if final is not None:
            item, started = self._speaking(final.words[0].start if final.words else 0.0)
            rest = self._delta(item, final.text, len(final.text), final.words)
            item.parts.append(final)
            if self.details:
                item.words += self._words(final.words)
            item.is_identified = self._current.is_identified
        mark = self._marks.popleft() if endpoint.reason == "flush" else None
        marked = mark.item if mark is not None else None
        found = marked if marked is not None and not marked.is_done else self._target()
        is_running = self._current.is_manual and mark is None
        if found is None or is_running or endpoint.reason == "error":
            return started + rest
        found.end = found.end or max(found.start, self._offset + endpoint.at)
        return started + self._complete(found, rest)

    def _complete(self, item: Item, rest: Sequence[Fields] = ()) -> list[Fields]:
        """Return the last events of an item; `rest` is the last of its text."""
        events: list[Fields] = []
        if not item.is_committed:
            if item.is_announced:
                events.append(self._stopped(item))
            events += self._commit(item)
        events += rest
        item.is_done = True
        if self._spoken is item:
            self._spoken = None
        events.append(item.wire("conversation.item.done"))
        outcome: Fields = {"item_id": item.id, "content_index": 0}
        if item.error is not None:
            return [*events, {"type": _TRANSCRIPTION + "failed", **outcome, "error": item.error}]
        outcome["transcript"] = item.text
        outcome["usage"] = {"type": "duration", "seconds": round(item.end - item.start, 3)}
        languages = list(dict.fromkeys(part.language for part in item.parts))
        if item.is_identified or (self._plan is not None and self._plan.is_identified):
            outcome["languages"] = [{"code": code} for code in languages]
        if self.logprobs:
            outcome["logprobs"] = _logprobs(item.parts)
        if self.details:
            outcome["x_mms"] = {
                "start": round(item.start, 3),
                "end": round(item.end, 3),
                "languages": languages,
                "words": item.words,
                "warnings": list(self._warnings),
            }
        return [*events, {"type": COMPLETED, **outcome}]

    def _stopped(self, item: Item) -> Fields:
        stopped = {"type": _BUFFER + "speech_stopped", "audio_end_ms": _ms(item.end)}
        return {**stopped, "item_id": item.id}

    def _commit(self, item: Item) -> list[Fields]:
        item.previous, self._last = self._last, item.id
        item.is_committed = True
        self._last_end = max(self._last_end, item.end)
        committed = {"item_id": item.id, "previous_item_id": item.previous}
        added = item.wire("conversation.item.added")
        return [{"type": _BUFFER + "committed", **committed}, added]

    def _words(self, words: Sequence[Word]) -> list[Fields]:
        return [
            {
                "text": word.text,
                "start": round(self._offset + word.start, 3),
                "end": round(self._offset + word.end, 3),
                "confidence": word.confidence,
            }
            for word in words
        ]


def _from(words: Sequence[Word], text: str, known: int) -> Sequence[Word]:
    """Return the words that do not end within the first characters of a text."""
    position = 0
    for index, word in enumerate(words):
        position = text.index(word.text, position) + len(word.text)
        if position > known:
            return words[index:]
    return ()


def _logprobs(parts: Sequence[Transcript]) -> list[Fields]:
    """Return a token per word; the tokens joined are the text of the item."""
    tokens: list[Fields] = []
    for part in parts:
        own = word_logprobs(part)
        if tokens and own:
            token = " " + own[0]["token"]
            own[0] = {**own[0], "token": token, "bytes": list(token.encode())}
        tokens += own
    return tokens


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
