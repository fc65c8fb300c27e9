"""Protocol of a realtime session: messages of the client in, requests and events out, no I/O."""

import binascii
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mms_engine.asr.streaming.events import Event
from mms_engine.serve.errors import ApiError
from mms_engine.serve.realtime.configuration import (
    DETAILS,
    LOGPROBS,
    Configuration,
    updated,
)
from mms_engine.serve.realtime.items import Fields, Items, error_event
from mms_engine.serve.realtime.plan import Plan

MAX_AUDIO_BYTES = 15 << 20
"""Audio of one event, as at OpenAI."""
_MAX_ID_CHARACTERS = 512
_EMPTY = "the input audio buffer is empty: append audio before it is committed"


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
        self._new_id = new_id
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

    def created(self) -> Fields:
        """Return the first event."""
        return self.identified({"type": "session.created", "session": self.wire()})

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
        event_id = None
        try:
            content = _object(message)
            event_id = _event_id(content)
            outputs = self._handler(content)(content)
        except ApiError as error:
            outputs = [error_event(error, event_id)]
        return [self.identified(one) if isinstance(one, dict) else one for one in outputs]

    def event(self, event: Event, warnings: Sequence[str] = ()) -> list[Fields]:
        """Take an event of the stream, and the stream's warnings."""
        return list(map(self.identified, self.items.event(event, warnings)))

    def ended(self, error: ApiError | None = None) -> list[Fields]:
        """Take the end of the stream; `error` is why it failed. Another is opened when needed."""
        self.is_streaming = False
        return list(map(self.identified, self.items.end(error)))

    def refused(self, error: ApiError) -> list[Fields]:
        """Take a refusal to open a stream: audio is dropped until the configuration changes."""
        self.is_streaming, self._is_refused = False, True
        self.items.drop()
        return [self.identified(error_event(error))]

    def idle(self) -> list[Output]:
        """Release the stream of a client that sends no audio."""
        return [Finish()] if self.is_streaming else []

    def _handler(self, content: Fields) -> Callable[[Fields], list[Output]]:
        handlers: Mapping[str, Callable[[Fields], list[Output]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }
        kind = content.get("type")
        if not isinstance(kind, str):
            raise ApiError(400, "type is missing", code="missing_required_parameter", param="type")
        if kind in handlers:
            return handlers[kind]
        if kind == "transcription_session.update":
            message = f"{kind} is of the beta interface, which is not served: send session.update"
            raise ApiError(400, message, code="beta_api_shape", param="type")
        message = f"no event {kind[:100]!r} in a transcription session: {', '.join(handlers)}"
        raise ApiError(400, message, code="invalid_value", param="type")

    def _update(self, content: Fields) -> list[Output]:
        if "session" not in content:
            raise _missing("session")
        configuration, warnings = updated(self.configuration, content["session"])
        return [Resolve(configuration, warnings, _event_id(content))]

    def resolved(self, request: Resolve, found: Plan | ApiError) -> list[Output]:
        """Take the plan of a configuration, or why there is none: then nothing changes."""
        if isinstance(found, ApiError):
            return [self.identified(error_event(found, request.event_id))]
        outputs = self._configured(request.configuration, found, request.warnings)
        return [self.identified(one) if isinstance(one, dict) else one for one in outputs]

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

    def _append(self, content: Fields) -> list[Output]:
        audio = self._rest + _audio(content)
        width, rate = self.plan.sample_bytes, self.plan.options.sample_rate
        whole = len(audio) - len(audio) % width
        self._rest = audio[whole:]
        if not whole or self._is_refused:
            return []
        if self.plan.language is None:
            self._is_refused = True
            message = "the language is missing, and this server cannot identify it"
            raise ApiError(
                400,
                f"{message}: set session.audio.input.transcription.language; audio is dropped",
                code="missing_language",
                param="session.audio.input.transcription.language",
            )
        outputs: list[Output] = []
        if not self.is_streaming:
            self.is_streaming = True
            self.items.begin(self.plan)
            outputs.append(Open(self.plan))
        outputs.append(Feed(audio[:whole]))
        events = self.items.append(whole / width / rate)
        return [*outputs, *events, Flush()] if events else outputs

    def _commit(self, _: Fields) -> list[Output]:
        if self.plan.is_manual and self.items.is_empty:
            raise ApiError(400, _EMPTY, code="input_audio_buffer_commit_empty")
        return self._committed()

    def _committed(self) -> list[Output]:
        self._rest = b""
        return [*self.items.commit(), *([Flush()] if self.is_streaming else [])]

    def _clear(self, _: Fields) -> list[Output]:
        self._rest = b""
        return [*self.items.clear(), *([Flush()] if self.is_streaming else [])]

    def identified(self, event: Fields) -> Fields:
        """Return an event with an id."""
        return {"type": event["type"], "event_id": self._new_id("event"), **event}


def session_object(session_id: str, configuration: Configuration, own: Fields) -> Fields:
    """Return a session as JSON values; `own` are the fields of `x_mms`."""
    identity = {"id": session_id, "object": "realtime.transcription_session"}
    return {**identity, **configuration.wire(), "x_mms": own}


def _object(message: str | bytes) -> dict[str, Any]:
    if not isinstance(message, str):
        raise ApiError(400, "messages are JSON in text frames, not binary", code="invalid_frame")
    try:
        content = msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ApiError(400, f"the message is not JSON: {error}", code="invalid_json") from error
    if not isinstance(content, dict):
        raise ApiError(400, "the message is not a JSON object", code="invalid_json")
    return content


def _event_id(content: Fields) -> str | None:
    given = content.get("event_id")
    return given[:_MAX_ID_CHARACTERS] if isinstance(given, str) else None


def _audio(content: Fields) -> bytes:
    given = content.get("audio")
    if given is None:
        raise _missing("audio")
    if not isinstance(given, str):
        raise ApiError(400, "audio must be a string", code="invalid_type", param="audio")
    if len(given) > (MAX_AUDIO_BYTES + 2) // 3 * 4:
        message = f"audio is longer than {MAX_AUDIO_BYTES} bytes: append it in parts"
        raise ApiError(400, message, code="string_above_max_length", param="audio")
    try:
        return binascii.a2b_base64(given, strict_mode=True)
    except ValueError as error:
        message = f"audio is not base64: {error}"
        raise ApiError(400, message, code="invalid_value", param="audio") from error


def _missing(name: str) -> ApiError:
    return ApiError(400, f"{name} is missing", code="missing_required_parameter", param=name)
