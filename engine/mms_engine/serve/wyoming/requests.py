"""Requests of Wyoming's clients: the types of their fields, and their order.

The classes of the `wyoming` package, with which answers are built, take fields of any type.
"""

from typing import Annotated, Any, Literal, get_args

import msgspec
from wyoming.event import Event

from mms_engine.serve.errors import ApiError

MAX_PHRASES = 1000
MAX_PHRASE_CHARACTERS = 200

_Phrases = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=MAX_PHRASE_CHARACTERS)]],
    msgspec.Meta(max_length=MAX_PHRASES),
]


class _Request(msgspec.Struct, tag_field="type"):
    """Data of an event; fields that are not listed are ignored."""


class Describe(_Request, tag="describe"):
    """Request for `info`."""


class Ping(_Request, tag="ping"):
    """Request for `pong` with the same text."""

    text: str | None = None


class SelectProgram(_Request, tag="select-program"):
    """Choice of a program of `info` for the connection."""

    name: str


class Transcribe(_Request, tag="transcribe"):
    """Options of the utterance that follows."""

    name: str | None = None
    language: str | None = None
    vad_sensitivity: str | None = None
    transcript_names: _Phrases | None = None
    transcript_terms: _Phrases | None = None


class AudioStart(_Request, tag="audio-start"):
    """Begin of an utterance."""

    rate: int
    width: int
    channels: int


class AudioChunk(_Request, tag="audio-chunk"):
    """Audio of an utterance; its samples are the payload."""

    rate: int
    width: int
    channels: int


class AudioStop(_Request, tag="audio-stop"):
    """End of an utterance."""


class VoiceChoice(msgspec.Struct):
    """Voice by name, or else by language."""

    name: str | None = None
    language: str | None = None
    speaker: str | None = None


class Synthesize(_Request, tag="synthesize"):
    """Text to speak."""

    text: str
    voice: VoiceChoice | None = None
    text_format: str | None = None


class SynthesizeStart(_Request, tag="synthesize-start"):
    """Begin of a text that comes in parts."""

    voice: VoiceChoice | None = None
    text_format: str | None = None


class SynthesizeChunk(_Request, tag="synthesize-chunk"):
    """Part of a text."""

    text: str


class SynthesizeStop(_Request, tag="synthesize-stop"):
    """End of a text that came in parts."""


Request = (
    Describe
    | Ping
    | SelectProgram
    | Transcribe
    | AudioStart
    | AudioChunk
    | AudioStop
    | Synthesize
    | SynthesizeStart
    | SynthesizeChunk
    | SynthesizeStop
)
_KNOWN = frozenset(kind.__struct_config__.tag for kind in get_args(Request))


def parse_request(event: Event) -> Request | None:
    """Return the request of an event; `None` for a type that is not served, which is ignored.

    Raises:
        ApiError: 400; a field is missing or has another type.
    """
    if event.type not in _KNOWN:
        return None
    fields: dict[str, Any] = {**event.data, "type": event.type}
    try:
        request: Request = msgspec.convert(fields, Request)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ApiError(400, f"{event.type}: {error}", code="invalid_event") from error
    return request


_State = Literal["idle", "audio", "text"]
_ORDER: dict[type[Request], tuple[_State, _State]] = {
    Transcribe: ("idle", "idle"),
    AudioStart: ("idle", "audio"),
    AudioChunk: ("audio", "audio"),
    AudioStop: ("audio", "idle"),
    Synthesize: ("idle", "idle"),
    SynthesizeStart: ("idle", "text"),
    SynthesizeChunk: ("text", "text"),
    SynthesizeStop: ("text", "idle"),
}
"""State in which a request may come, and the one behind it. Others may come at any time."""
_RECEIVING = {
    "idle": "no utterance and no text has been begun",
    "audio": "the audio of an utterance is being received",
    "text": "a text is being received in parts",
}


class Dialogue:
    """State of reception: nothing, the audio of an utterance, or a text in parts."""

    def __init__(self) -> None:
        self.state: _State = "idle"

    def accept(self, request: Request) -> bool:
        """Take a request; return whether it is to be served, and not to be ignored.

        Home Assistant sends a text that it has sent in parts once more as a whole, for servers that
        take no parts.

        Raises:
            ApiError: 400; it may not come now.
        """
        if isinstance(request, Synthesize) and self.state == "text":
            return False
        before, behind = _ORDER.get(type(request), (self.state, self.state))
        if self.state != before:
            kind = type(request).__struct_config__.tag
            message = f"{kind} may not come now: {_RECEIVING[self.state]}"
            raise ApiError(400, message, code="out_of_order")
        self.state = behind
        return True
