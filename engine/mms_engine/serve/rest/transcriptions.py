"""Transcription of an uploaded recording."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mms_engine.languages import codes_of_label, labels_with_codes
from mms_engine.serve.call import Call, Form, call_of
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.hotwords import PROMPT_WORDS, hotwords
from mms_engine.serve.languages import language_code
from mms_engine.serve.models import SpeechModel
from mms_engine.serve.rest import results
from mms_engine.serve.rest.fields import (
    FILE,
    LANGUAGE,
    boolean,
    choice,
    form_body,
    recording_name,
    values,
)
from mms_engine.serve.rest.recognition import transcribed
from mms_engine.serve.rest.sse import event_stream
from mms_engine.types import Audio, Transcript

router = APIRouter(tags=["speech"])

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "ctm", "textgrid")
_GRANULARITIES = ("segment", "word")

_STRINGS = {"type": "array", "items": {"type": "string"}}
_PROPERTIES: dict[str, Any] = {
    "file": FILE,
    "model": {"type": "string", "description": "Model or alias; by default the first model."},
    "language": LANGUAGE,
    "languages[]": {**_STRINGS, "description": "Languages among which to identify."},
    "keywords[]": {**_STRINGS, "description": "Phrases to favour, by beam search."},
    "prompt": {
        "type": "string",
        "description": f"Phrases to favour, separated by commas or line breaks; those of more than "
        f"{PROMPT_WORDS} words are not used.",
    },
    "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
    "timestamp_granularities[]": {
        "type": "array",
        "items": {"type": "string", "enum": list(_GRANULARITIES)},
        "description": "With verbose_json; by default segment.",
    },
    "include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}},
    "stream": {"type": "boolean", "default": False, "description": "With json: events (SSE)."},
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "description": "Without effect."},
    "chunking_strategy": {"type": "string", "description": "Without effect: long audio is cut."},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Fields of a request, checked."""

    model: SpeechModel
    language: str | None
    """Code of the model; `None` to identify it."""
    among: tuple[str, ...]
    """Codes to identify among; none for all."""
    hotwords: tuple[str, ...]
    format: str
    granularities: tuple[str, ...]
    logprobs: bool
    stream: bool

    @classmethod
    def read(cls, call: Call, form: Form) -> Self:
        """Check the fields of a form.

        Raises:
            ApiError: 400 or 404.
        """
        models = call.service.models
        name = form.one("model")
        model = models.find(name)
        format_name = _format(form)
        language, among = _languages(call, form, model)
        _check_ignored(form)
        fields = cls(
            model=model,
            language=language,
            among=among,
            hotwords=hotwords(values(form, "keywords"), form.one("prompt"), "keywords[]"),
            format=format_name,
            granularities=_granularities(form, format_name),
            logprobs=_logprobs(form, format_name),
            stream=boolean(form, "stream"),
        )
        if fields.stream and format_name != "json":
            raise invalid(f"stream needs the format json, not {format_name}", "stream")
        return fields


def _format(form: Form) -> str:
    if form.one("response_format") == "diarized_json":
        message = "diarized_json is not supported: this model does not tell speakers apart"
        raise invalid(message, "response_format", "unsupported_value")
    for name in ("known_speaker_names", "known_speaker_references"):
        if values(form, name):
            raise invalid(f"{name}: this model does not tell speakers apart", name, "unsupported")
    return choice(form, "response_format", ("json", *FORMATS))


def _languages(call: Call, form: Form, model: SpeechModel) -> tuple[str | None, tuple[str, ...]]:
    """Return the language of a request, or `None` and those to identify among."""
    if given := form.one("language").strip():
        return language_code(given, model.languages), ()
    codes = [
        language_code(one, model.languages, "languages[]") for one in values(form, "languages")
    ]
    among = tuple(dict.fromkeys(codes or model.languages))
    if len(among) == 1:
        return among[0], ()
    if call.service.models.identifier is None:
        near = ", ".join(among[:5]) + (", …" if len(among) > 5 else "")
        message = f"language is missing, and this server cannot identify it: give one of {near}"
        raise invalid(message, "language", "missing_language")
    return None, among if codes else ()


def _granularities(form: Form, format_name: str) -> tuple[str, ...]:
    given = values(form, "timestamp_granularities")
    if given and format_name != "verbose_json":
        message = "timestamp_granularities need the format verbose_json"
        raise invalid(message, "timestamp_granularities[]")
    for one in given:
        if one not in _GRANULARITIES:
            message = f"timestamp_granularities must be segment or word, not {one!r}"
            raise invalid(message, "timestamp_granularities[]")
    return tuple(given) or ("segment",)


def _logprobs(form: Form, format_name: str) -> bool:
    given = values(form, "include")
    if any(one != "logprobs" for one in given):
        raise invalid("include[] can only be logprobs", "include[]")
    if given and format_name not in ("json", "verbose_json"):
        raise invalid("logprobs need the format json or verbose_json", "include[]")
    return bool(given)


def _check_ignored(form: Form) -> None:
    given = form.one("temperature", "0")
    try:
        is_valid = 0 <= float(given) <= 1
    except ValueError:
        is_valid = False
    if not is_valid:
        raise invalid(f"temperature must be a number from 0 to 1, not {given!r}", "temperature")


@router.post(
    "/v1/audio/transcriptions",
    summary="Transcribe a recording",
    openapi_extra=form_body(_PROPERTIES, ("file",)),
)
async def transcribe(request: Request) -> Response:
    """Return the text of a recording, with its times in most formats."""
    call = call_of(request)
    call.admit("transcribe")
    form = await call.form()
    fields = await asyncio.to_thread(Fields.read, call, form)
    upload = form.file()
    work = _Transcription(call, fields)
    if fields.stream:
        return await event_stream(call, upload.file, work.run, logprobs=fields.logprobs)
    name = recording_name(upload)

    async def answer() -> Response:
        async with call.service.decoded(call.client, upload.file) as audio:
            call.free_body()
            return await work.answer(audio, name)

    return await call.while_connected(answer())


@router.post("/v1/audio/translations", summary="Not supported")
async def translate(request: Request) -> Response:
    """Return the error that translation is not supported."""
    call_of(request).allow("transcribe")
    message = "translation is not supported: MMS transcribes in the language of the recording"
    raise ApiError(400, message, code="unsupported_task")


class _Transcription:
    """A request from its decoded audio to its transcript."""

    def __init__(self, call: Call, fields: Fields) -> None:
        self._call = call
        self._fields = fields
        self._coming = contextlib.ExitStack()
        self._coming.enter_context(fields.model.batcher.coming())
        call.held.callback(self._coming.close)
        self.detected: str | None = None
        """Code of the language, if it was identified."""

    async def run(
        self, audio: Audio, changed: Callable[[str], None] | None = None
    ) -> tuple[Transcript, str | None]:
        """Return the transcript, and the language if it was identified.

        Args:
            audio: Decoded.
            changed: Called with the settled start of the text, in a thread.
        """
        fields = self._fields
        language = fields.language
        if language is None:
            language = self.detected = await self._identify(audio)
        transcript = await transcribed(
            self._call,
            fields.model,
            audio,
            language,
            hotwords=fields.hotwords,
            changed=changed,
            submitted=self._coming.close,
        )
        return transcript, self.detected

    async def _identify(self, audio: Audio) -> str:
        """Return the code of the language of an audio, or of the first where it is not certain.

        Raises:
            ApiError: 400; the language cannot be identified, or not be transcribed.
        """
        models, model = self._call.service.models, self._fields.model
        identifier = models.identifier
        if identifier is None:
            raise RuntimeError("identification was checked before")
        codes = self._fields.among or model.languages
        labels = labels_with_codes(identifier.languages, codes)
        if not labels:
            raise invalid("none of the languages can be identified: give language", "language")
        found = await self._call.service.run_task(
            self._call.client, lambda: identifier.identify(audio, labels)
        )
        if not found.scores:
            return codes[0]  # without speech there is no text in any language
        label = found.scores[0].code
        return language_code(label, codes_of_label(label, codes))

    async def answer(self, audio: Audio, name: str) -> Response:
        """Return the response in the format of the request."""
        transcript, _ = await self.run(audio)
        return await asyncio.to_thread(self._response, transcript, audio, name)

    def _response(self, transcript: Transcript, audio: Audio, name: str) -> Response:
        fields = self._fields
        if fields.format in results.MEDIA_TYPES:
            text = results.as_text(transcript, name, fields.format)
            return PlainTextResponse(text, media_type=results.MEDIA_TYPES[fields.format])
        if fields.format == "json":
            body = results.plain(transcript, detected=self.detected, logprobs=fields.logprobs)
        else:
            body = results.verbose(
                transcript, audio, fields.granularities, logprobs=fields.logprobs
            )
        return JSONResponse(body)
