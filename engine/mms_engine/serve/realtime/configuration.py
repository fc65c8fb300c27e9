"""Configuration of a realtime session: its wire form, and updates of it."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from mms_engine.serve.errors import ApiError

Included = Literal[
    "item.input_audio_transcription.logprobs", "item.input_audio_transcription.x_mms"
]
LOGPROBS: Included = "item.input_audio_transcription.logprobs"
DETAILS: Included = "item.input_audio_transcription.x_mms"
"""Member of `include` that adds the unstable text, and the times and confidences of words."""
MANUAL_MODELS = ("gpt-realtime-whisper", "gpt-live-transcribe")
"""Models without turn detection at OpenAI: their clients rely on that, and commit by themselves."""

_MAX_LISTED = 10
"""Unknown fields that a warning names."""
_NULLABLE = ("turn_detection", "noise_reduction")
"""Fields that `null` turns off. Others have their default again."""
_MAX_LANGUAGES = 100
_MAX_PROMPT_CHARACTERS = 20_000
_Milliseconds = Annotated[int, Meta(ge=0, le=10_000)]
_Name = Annotated[str, Meta(max_length=200)]


class Pcm(Struct, frozen=True, tag_field="type", tag="audio/pcm"):
    """Samples of 16 bits, little-endian, mono."""

    rate: Annotated[int, Meta(ge=8_000, le=48_000)] = 24_000


class MuLaw(Struct, frozen=True, tag_field="type", tag="audio/pcmu"):
    """G.711 µ-law at 8 kHz."""


class ALaw(Struct, frozen=True, tag_field="type", tag="audio/pcma"):
    """G.711 A-law at 8 kHz."""


class NoiseReduction(Struct, frozen=True):
    """Accepted without effect."""

    type: Literal["near_field", "far_field"]
    strength: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET


class Transcription(Struct, frozen=True):
    """Model, languages and vocabulary."""

    model: _Name | UnsetType = UNSET
    language: _Name | UnsetType = UNSET
    languages: Annotated[tuple[_Name, ...], Meta(max_length=_MAX_LANGUAGES)] | UnsetType = UNSET
    keywords: tuple[str, ...] | UnsetType = UNSET
    prompt: Annotated[str, Meta(max_length=_MAX_PROMPT_CHARACTERS)] | UnsetType = UNSET
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | UnsetType = UNSET


class ServerVad(Struct, frozen=True, tag_field="type", tag="server_vad"):
    """Turns by pauses."""

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Without effect: speech is what the model hears as words."""
    prefix_padding_ms: _Milliseconds = 300
    silence_duration_ms: Annotated[int, Meta(ge=20, le=10_000)] = 500
    idle_timeout_ms: Annotated[int, Meta(ge=1_000, le=60_000)] | UnsetType = UNSET
    create_response: bool | UnsetType = UNSET
    interrupt_response: bool | UnsetType = UNSET


class SemanticVad(Struct, frozen=True, tag_field="type", tag="semantic_vad"):
    """Turns by pauses of a length that follows from the eagerness."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool | UnsetType = UNSET
    interrupt_response: bool | UnsetType = UNSET


class AudioInput(Struct, frozen=True):
    """Audio of the client."""

    format: Pcm | MuLaw | ALaw = Pcm()
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription = Transcription()
    turn_detection: ServerVad | SemanticVad | UnsetType | None = UNSET
    """`None` for turns that the client commits; unset for the default of the model's name."""


class SessionAudio(Struct, frozen=True):
    """Audio of a session, which is input only."""

    input: AudioInput = AudioInput()


class Configuration(Struct, frozen=True):
    """Configuration of a transcription session. Immutable."""

    type: Literal["transcription"] = "transcription"
    audio: SessionAudio = SessionAudio()
    include: Annotated[tuple[Included, ...], Meta(max_length=10)] | UnsetType = UNSET

    @property
    def turns(self) -> ServerVad | SemanticVad | None:
        """Turn detection in effect."""
        given = self.audio.input.turn_detection
        if given is not UNSET:
            return given
        name = self.audio.input.transcription.model
        is_manual = name is not UNSET and name.startswith(MANUAL_MODELS)
        return None if is_manual else ServerVad()

    def includes(self, name: Included) -> bool:
        """Return whether a further field is asked for."""
        return self.include is not UNSET and name in self.include

    def wire(self) -> dict[str, Any]:
        """Return it as JSON values, with what is in effect."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        values["audio"]["input"]["turn_detection"] = msgspec.to_builtins(self.turns)
        return values


def updated(current: Configuration, update: Any) -> tuple[Configuration, tuple[str, ...]]:  # noqa: ANN401
    """Return a configuration changed by an update, and warnings.

    Fields that the update lacks keep their value, at any depth; `null` restores the default, or
    turns off what can be off. Objects of another `type` are replaced. `language` and `languages`
    exclude each other.

    Raises:
        ApiError: 400; `param` is the path of the wrong field.
    """
    if not isinstance(update, dict):
        raise ApiError(400, "session must be an object", code="invalid_type", param="session")
    _check_kind(update)
    base = msgspec.to_builtins(current)
    if base["audio"]["input"].get("turn_detection") is None:
        base["audio"]["input"]["turn_detection"] = msgspec.to_builtins(current.turns)
    audio_input = _member(_member(update, "audio"), "input")
    if "turn_detection" not in audio_input and current.audio.input.turn_detection is UNSET:
        del base["audio"]["input"]["turn_detection"]
    transcription = _member(audio_input, "transcription")
    for one, other in (("languages", "language"), ("language", "languages")):
        if transcription.get(one):
            base["audio"]["input"]["transcription"].pop(other, None)
    merged = _merge(base, update)
    try:
        result = msgspec.convert(merged, Configuration)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    unknown = list(_unknown(update, msgspec.to_builtins(result), "session"))
    names = ", ".join(unknown[:_MAX_LISTED]) + (", …" if len(unknown) > _MAX_LISTED else "")
    return result, (f"unknown and without effect: {names}",) if unknown else ()


def _check_kind(update: dict[str, Any]) -> None:
    kind = update.get("type", "transcription")
    if kind != "transcription":
        message = f"this is a transcription session: session.type is transcription, not {kind!r}"
        raise ApiError(400, message, code="invalid_value", param="session.type")
    for name in update:
        if name.startswith("input_audio_"):
            message = (
                f"session.{name} is of the beta interface, which is not served: see "
                "session.audio.input"
            )
            raise ApiError(400, message, code="beta_api_shape", param=f"session.{name}")


def _member(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _merge(old: Any, new: Any) -> Any:  # noqa: ANN401
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    if "type" in old and new.get("type", old["type"]) != old["type"]:
        old = {}
    merged = dict(old)
    for name, value in new.items():
        if value is None and name not in _NULLABLE:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _unknown(given: Any, kept: Any, path: str) -> Iterator[str]:  # noqa: ANN401
    """Yield the paths of given fields that were not kept."""
    if not isinstance(given, dict) or not isinstance(kept, dict):
        return
    for name, value in given.items():
        own = f"{path}.{name}"[:100]
        if name in kept:
            yield from _unknown(value, kept[name], own)
        elif value is not None:
            yield own


def _invalid(error: msgspec.ValidationError) -> ApiError:
    text, _, path = str(error).partition(" - at `$")
    missing = re.search(r"missing required field `(\w+)`", text)
    param = "session" + path.removesuffix("`") + (f".{missing[1]}" if missing else "")
    code = "missing_required_parameter" if missing else "invalid_value"
    return ApiError(400, f"{param}: {text.replace('`', '')}", code=code, param=param)
