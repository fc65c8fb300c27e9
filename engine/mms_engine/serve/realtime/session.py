"""Protocol of a realtime session: messages of the client in, requests and events out, no I/O."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct

from mms_engine.asr.streaming.events import Event
from mms_engine.serve.errors import ApiError
from mms_engine.serve.realtime.configuration import (
    DETAILS,
    LOGPROBS,
    Configuration,
    updated,
)
from mms_engine.serve.realtime.item import Fields, SavedItems
from mms_engine.serve.realtime.items import Items, error_event
from mms_engine.serve.realtime.message import Message, message_id, read_message
from mms_engine.serve.realtime.plan import Plan

_MAX_UNCOMMITTED_SECONDS = 7200.0
_EMPTY = "the input audio buffer is empty: append audio before it is committed"
_TOO_LONG = f"{_MAX_UNCOMMITTED_SECONDS:g} s of audio are not committed: commit or clear them"
_LANGUAGE = "session.audio.input.transcription.language"
_NO_LANGUAGE = f"this server cannot identify the language, and drops the audio: set {_LANGUAGE}"


@dataclass(frozen=True, slots=True, eq=False)
class Open:
    """Request to open a stream."""

    plan: Plan


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """Request to feed the stream."""

    content: bytes
    """Whole samples, in the format of the plan."""


@dataclass(frozen=True, slots=True, eq=False)
class Resolve:
    """Request to find the plan of a configuration, for `resolved`."""

    configuration: Configuration
    warnings: tuple[str, ...]
    event_id: str | None
    """Id of the message."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Request to end the utterance after the audio so far."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Request to end the stream, and to wait for its last events."""


Output = Fields | Resolve | Open | Feed | Flush | Finish
"""Event for the client, or request to the engine; the caller carries them out in order."""


class SavedSession(Struct):
    """State of a `Session`."""

    configuration: Configuration
    is_streaming: bool
    is_refused: bool
    rest: bytes
    items: SavedItems


def new_id(prefix: str) -> str:
    """Return a random id."""
    return f"{prefix}_{secrets.token_hex(10)}"


class Session:
    """State of one session. Methods return at once, and are called on one thread."""

    def __init__(
        self,
        configuration: Configuration,
        plan: Plan,
        new_id: Callable[[str], str] = new_id,
    ) -> None:
        """Begin a session.

        Args:
            configuration: First configuration.
            plan: Its plan.
            new_id: Returns an id with a prefix.
        """
        self.id = new_id("sess")
        self.items = Items(new_id)
        self.is_streaming = False
        """Whether a stream is open."""
        self._is_refused = False
        """Whether audio is dropped, since no stream can be opened for the configuration."""
        self._rest = b""
        """First byte of a sample whose second one has not come."""
        self._use(configuration, plan)

    def _use(self, configuration: Configuration, plan: Plan) -> None:
        self.configuration, self.plan = configuration, plan
        self.items.details = configuration.includes(DETAILS)
        self.items.logprobs = configuration.includes(LOGPROBS)
        self._is_refused = False

    def save(self) -> SavedSession:
        """Return the state between two messages, for `restore`."""
        return SavedSession(
            self.configuration, self.is_streaming, self._is_refused, self._rest, self.items.save()
        )

    def restore(self, saved: SavedSession) -> None:
        """Go on from a saved state, whose configuration the session has.

        Raises:
            ValueError: the state is damaged.
        """
        self.is_streaming = saved.is_streaming
        self._is_refused, self._rest = saved.is_refused, saved.rest
        self.items.restore(saved.items, self.plan if saved.is_streaming else None)

    def created(self) -> Fields:
        """Return the first event."""
        return {"type": "session.created", "session": self.wire()}

    def wire(self, warnings: tuple[str, ...] = ()) -> Fields:
        """Return the session as JSON values."""
        own = {
            "model": self.plan.model.id,
            "language": self.plan.language,
            "latency": self.plan.options.latency,
            "warnings": list(warnings),
        }
        return session_object(self.id, self.configuration, own)

    def receive(self, message: str | bytes) -> list[Output]:
        """Take a message of the client. What cannot be used is answered by an `error` event."""
        try:
            content = read_message(message)
            return self._handler(content.type)(content)
        except ApiError as error:
            return [error_event(error, message_id(message))]

    def event(self, event: Event, warnings: Sequence[str] = ()) -> list[Fields]:
        """Take an event of the stream, and the stream's warnings."""
        return self.items.event(event, warnings)

    def ended(self, error: ApiError | None = None) -> list[Fields]:
        """Take the end of the stream; `error` is why it failed. Another is opened when needed."""
        self.is_streaming = False
        return self.items.end(error)

    def refused(self, error: ApiError) -> list[Fields]:
        """Take a refusal to open a stream: audio is dropped until the configuration changes."""
        self.is_streaming, self._is_refused = False, True
        self.items.drop()
        return [error_event(error)]

    def idle(self) -> list[Output]:
        """Release the stream of a client that sends no audio."""
        return [Finish()] if self.is_streaming else []

    def _handler(self, kind: str) -> Callable[[Message], list[Output]]:
        handlers: Mapping[str, Callable[[Message], list[Output]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }
        if kind in handlers:
            return handlers[kind]
        if kind == "transcription_session.update":
            message = f"{kind} is of the beta interface, which is not served: send session.update"
            raise ApiError(400, message, code="beta_api_shape", param="type")
        message = f"no event {kind[:100]!r} in a transcription session: {', '.join(handlers)}"
        raise ApiError(400, message, code="invalid_value", param="type")

    def _update(self, message: Message) -> list[Output]:
        configuration, warnings = updated(self.configuration, message.update())
        return [Resolve(configuration, warnings, message.id)]

    def resolved(self, request: Resolve, found: Plan | ApiError) -> list[Output]:
        """Take the plan of a configuration, or why there is none: then nothing changes."""
        if isinstance(found, ApiError):
            return [error_event(found, request.event_id)]
        return self._configured(request.configuration, found, request.warnings)

    def _configured(
        self, configuration: Configuration, plan: Plan, warnings: tuple[str, ...]
    ) -> list[Output]:
        outputs: list[Output] = []
        if self.plan.is_manual and not plan.is_manual and not self.items.is_empty:
            outputs += self._committed()
        if self.is_streaming and plan != self.plan:
            outputs.append(Finish())
        if configuration.audio.input.format != self.configuration.audio.input.format:
            self._rest = b""
        self._use(configuration, plan)
        return [*outputs, {"type": "session.updated", "session": self.wire(warnings)}]

    def _append(self, message: Message) -> list[Output]:
        audio = self._rest + message.content()
        width, rate = self.plan.sample_bytes, self.plan.options.sample_rate
        whole = len(audio) - len(audio) % width
        self._rest = audio[whole:]
        if not whole or self._is_refused:
            return []
        if self.plan.language is None:
            self._is_refused = True
            raise ApiError(400, _NO_LANGUAGE, code="missing_language", param=_LANGUAGE)
        if self.items.uncommitted_seconds > _MAX_UNCOMMITTED_SECONDS:
            raise ApiError(400, _TOO_LONG, code="input_audio_buffer_too_long")
        outputs: list[Output] = []
        if not self.is_streaming:
            self.is_streaming = True
            self.items.begin(self.plan)
            outputs.append(Open(self.plan))
        events = self.items.append(whole / width / rate)
        outputs += [*events, Feed(audio[:whole])]
        return [*outputs, Flush()] if events else outputs

    def _commit(self, _: Message) -> list[Output]:
        if self.plan.is_manual and self.items.is_empty:
            raise ApiError(400, _EMPTY, code="input_audio_buffer_commit_empty")
        return self._committed()

    def _committed(self) -> list[Output]:
        self._rest = b""
        return [*self.items.commit(), *([Flush()] if self.is_streaming else [])]

    def _clear(self, _: Message) -> list[Output]:
        self._rest = b""
        return [*self.items.clear(), *([Flush()] if self.is_streaming else [])]


def session_object(session_id: str, configuration: Configuration, own: Fields) -> Fields:
    """Return a session as JSON values; `own` are the fields of `x_mms`."""
    identity = {"id": session_id, "object": "realtime.transcription_session"}
    return {**identity, **configuration.wire(), "x_mms": own}
