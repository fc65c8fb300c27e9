"""Speech of a text, sent as it is made."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from mms_engine.audio.write import AudioEncoder, PcmEncoder
from mms_engine.errors import TextError
from mms_engine.serve.call import Call, call_of
from mms_engine.serve.errors import api_error, invalid
from mms_engine.serve.models import Models, VoiceModel, find_voice
from mms_engine.serve.rest.fields import body_of, one_of
from mms_engine.serve.rest.sse import STREAM_HEADERS, event_line
from mms_engine.tts.options import FASTEST, SLOWEST
from mms_engine.types import Audio, AudioFormat, Dropped

router = APIRouter(tags=["speech"])

VOICE_HEADER, DROPPED_HEADER = "X-MMS-Voice", "X-MMS-Dropped"
OPENAI_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
)  # fmt: skip
"""Names that stand for the default voice of the model."""
PCM_RATE = 24_000
"""Samples per second of `pcm`, which has no header to tell it: clients take it for granted."""
_MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_ENCODINGS: dict[str, AudioFormat] = {
    "mp3": "mp3",
    "opus": "ogg",
    "aac": "aac",
    "flac": "flac",
    "wav": "wav",
}
_STREAM_FORMATS = ("audio", "sse")
_BYTES_EACH = 24
"""Bytes of a body per character that may be spoken: in two fields, each as `\\ud83d\\ude00`."""
_OTHER_BYTES = 64 << 10
_NAMED = 20
"""Dropped characters that an answer names."""

_PROPERTIES: dict[str, Any] = {
    "input": {"type": "string", "description": 'Text; <break time="500ms"/> is a pause.'},
    "model": {
        "type": "string",
        "description": "Model or alias, which may end in a language: mms-tts-swh. By default the "
        "first model.",
    },
    "voice": {
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
        ],
        "description": "Code or name of a language, itself or as id of an object. Missing, or a "
        "voice of OpenAI: the default voice of the model.",
    },
    "instructions": {"type": "string", "description": "Without effect."},
    "response_format": {"type": "string", "enum": list(_MEDIA_TYPES), "default": "mp3"},
    "speed": {"type": "number", "minimum": SLOWEST, "maximum": FASTEST, "default": 1.0},
    "stream_format": {
        "type": "string",
        "enum": list(_STREAM_FORMATS),
        "default": _STREAM_FORMATS[0],
        "description": "Bytes, or events (SSE) with the bytes in base64; both as they are made.",
    },
}


class _Voice(msgspec.Struct):
    id: str


class _Body(msgspec.Struct, kw_only=True):
    input: str
    model: str | None = None
    voice: str | _Voice | None = None
    instructions: str | None = None
    response_format: str | None = None
    speed: float | None = None
    stream_format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Fields of a request, checked."""

    text: str
    model: VoiceModel
    voice: str
    """Code of the model."""
    speed: float
    format: str
    is_events: bool

    @classmethod
    def read(cls, body: _Body, models: Models) -> Self:
        """Check the fields of a body.

        Raises:
            ApiError: 400 or 404.
        """
        model, voice = _voice(body, models)
        speed = 1.0 if body.speed is None else body.speed
        if not SLOWEST <= speed <= FASTEST:
            raise invalid(f"speed must be {SLOWEST:g} to {FASTEST:g}, not {speed:g}", "speed")
        kinds = tuple(_MEDIA_TYPES)
        stream = one_of(body.stream_format or "audio", "stream_format", _STREAM_FORMATS)
        return cls(
            text=body.input,
            model=model,
            voice=voice,
            speed=speed,
            format=one_of(body.response_format or "mp3", "response_format", kinds),
            is_events=stream == "sse",
        )

    def encoder(self) -> AudioEncoder | PcmEncoder:
        """Return an encoder of the format."""
        rate = self.model.synthesizer.sample_rate
        if self.format == "pcm":
            return PcmEncoder(rate, PCM_RATE)
        return AudioEncoder(rate, _ENCODINGS[self.format])


def _voice(body: _Body, models: Models) -> tuple[VoiceModel, str]:
    """Return the voice of a request: of the model it names, or of any where that is an alias."""
    name = body.model or ""
    model, default = models.find_voices(name)
    given = body.voice.id if isinstance(body.voice, _Voice) else body.voice or ""
    if not given.strip() or given.lower() in OPENAI_VOICES:
        return model, default
    among = [model]
    if not name or name in models.aliases:
        among += [one for one in models.voices if one is not model]
    return find_voice(given.strip(), among, "voice")


@router.post(
    "/v1/audio/speech",
    summary="Speak a text",
    openapi_extra=body_of("application/json", _PROPERTIES, ("input",)),
)
async def speak(request: Request) -> Response:
    """Return the speech of a text, as it is made."""
    call = call_of(request)
    call.admit("speak")
    most = _BYTES_EACH * call.service.config.limits.max_characters + _OTHER_BYTES
    body = await call.json(_Body, most)
    spoken = await asyncio.to_thread(_SpokenText, call, body)
    call.log_text(body.input)
    try:
        await call.while_connected(spoken.begin())
    except TextError as error:
        raise invalid(str(error), "input", "invalid_text") from error
    return spoken.response()


class _SpokenText:
    """Answer to a request, from its first audio on."""

    def __init__(self, call: Call, body: _Body) -> None:
        """Check the fields.

        Raises:
            ApiError: 400 or 404.
        """
        fields = self._fields = Fields.read(body, call.service.models)
        self._call = call
        self._encoder = fields.encoder()
        self._chunks = call.service.speech.speak(
            call.client,
            fields.text,
            fields.voice,
            speed=fields.speed,
            model=fields.model,
            on_unspoken=self._take,
        )
        characters = len(fields.text)
        tracing = call.service.tracing
        self._span = tracing.begin("speak", voice=fields.voice, characters=characters)
        call.held.callback(self._span.end)
        self._first: Audio | None = None
        self._dropped: dict[str, Any] = {}

    def _take(self, dropped: Sequence[Dropped]) -> None:
        self._dropped = _summary(dropped) if dropped else {}

    async def begin(self) -> None:
        """Make the first audio, so that errors have a status of their own.

        Raises:
            MmsError: the text cannot be spoken.
            ApiError: it is too long, or was not begun before the deadline.
        """
        self._first = await anext(self._chunks)
        self._span.event("first audio")

    def response(self) -> Response:
        """Return the response, whose body is made while it is sent."""
        headers = {**STREAM_HEADERS, VOICE_HEADER: self._fields.voice}
        if self._dropped:
            headers[DROPPED_HEADER] = json.dumps(self._dropped)
        if self._fields.is_events:
            return StreamingResponse(self._events(), 200, headers, "text/event-stream")
        return StreamingResponse(self._audio(), 200, headers, _MEDIA_TYPES[self._fields.format])

    async def _audio(self) -> AsyncIterator[bytes]:
        """Yield the encoded audio. An error cuts the connection: the status is sent already."""
        try:
            async for part in self._encoded():
                yield part
        except Exception as error:
            self._call.code = api_error(error).code
            raise

    async def _events(self) -> AsyncIterator[str]:
        try:
            async for part in self._encoded():
                audio = base64.b64encode(part).decode()
                yield event_line({"type": "speech.audio.delta", "audio": audio})
        except Exception as error:  # noqa: BLE001 (the status is sent already)
            answer = api_error(error)
            self._call.code = answer.code
            yield event_line(answer.envelope())
            return
        done = {"type": "speech.audio.done", "usage": self._usage()}
        yield event_line({**done, "dropped": self._dropped} if self._dropped else done)

    async def _encoded(self) -> AsyncIterator[bytes]:
        """Yield what the encoder gives, which is nothing for some chunks."""
        encoder, chunk = self._encoder, self._first
        while chunk is not None:
            self._call.audio_seconds += chunk.seconds
            if part := await asyncio.to_thread(encoder.encode, chunk.samples):
                yield part
            chunk = await anext(self._chunks, None)
        if part := await asyncio.to_thread(encoder.finish):
            yield part

    def _usage(self) -> dict[str, Any]:
        """Return characters and milliseconds in the place of tokens."""
        read, made = len(self._fields.text), round(1000 * self._call.audio_seconds)
        return {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}


def _summary(dropped: Sequence[Dropped]) -> dict[str, Any]:
    """Return how many characters were dropped, and the first of them with their places."""
    return {
        "count": sum(len(one.text) for one in dropped),
        "first": [
            {"text": one.text[:_NAMED], "start": one.start, "kind": one.kind}
            for one in dropped[:_NAMED]
        ],
    }
