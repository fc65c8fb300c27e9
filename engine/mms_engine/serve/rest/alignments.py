"""Alignment of a text with an uploaded recording."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from mms_engine.align.aligner import Aligner
from mms_engine.formats import render_alignment
from mms_engine.serve.call import Call, Form, call_of
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.languages import language_code
from mms_engine.serve.rest.fields import FILE, LANGUAGE, choice, form_body, recording_name

router = APIRouter(tags=["speech"])

_FORMATS = ("json", "srt", "vtt", "ctm", "textgrid", "audacity", "csv")
_PROPERTIES: dict[str, Any] = {
    "file": FILE,
    "text": {"type": "string", "description": "The text as written, at most 1 MiB."},
    "language": LANGUAGE,
    "model": {"type": "string", "description": "Model or alias; by default the first with it."},
    "response_format": {"type": "string", "enum": list(_FORMATS), "default": "json"},
}


@router.post(
    "/v1/audio/alignments",
    summary="Align a text with its recording",
    openapi_extra=form_body(_PROPERTIES, ("file", "text", "language")),
)
async def align(request: Request) -> Response:
    """Return the times of a text's words, characters and lines, and where the two differ."""
    call = call_of(request)
    call.admit("align")
    form = await call.form()
    text, format_name = form.one("text"), choice(form, "response_format", _FORMATS)
    if not text:
        raise invalid("text is missing", "text", "missing_text")
    aligner, language = await asyncio.to_thread(_aligner, call, form)
    upload = form.file()
    name = recording_name(upload)

    async def answer() -> Response:
        async with call.service.decoded(call.client, upload.file) as audio:
            call.free_body()
            call.audio_seconds = audio.seconds
            found = await call.service.run_task(
                call.client, lambda: aligner.align(audio, text, language)
            )
        content = await asyncio.to_thread(render_alignment, found, name, format_name=format_name)
        is_json = format_name == "json"
        kind = "application/json" if is_json else "text/plain; charset=utf-8"
        return PlainTextResponse(content, media_type=kind)

    return await call.while_connected(answer())


def _aligner(call: Call, form: Form) -> tuple[Aligner, str]:
    """Return the aligner of a request, and the code of its language.

    That is the recogniser's, with the letters of the language; the romanised one for others.
    """
    models, given, name = call.service.models, form.one("language").strip(), form.one("model")
    if not given:
        raise invalid("language is missing", "language", "missing_language")
    model = models.find(name)
    if name or models.aligner is None:
        return model.aligner, language_code(given, model.languages)
    try:
        return model.aligner, language_code(given, model.languages)
    except ApiError:
        return models.aligner, given
