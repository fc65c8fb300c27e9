"""Identification of the language of an uploaded recording."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from mms_engine.languages import all_languages
from mms_engine.serve.call import Form, call_of
from mms_engine.serve.errors import invalid, missing_task
from mms_engine.serve.languages import language_code
from mms_engine.serve.rest.fields import FILE, form_body, values

router = APIRouter(tags=["speech"])

_MOST = 100
_PROPERTIES: dict[str, Any] = {
    "file": FILE,
    "languages[]": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Languages to choose from; by default all.",
    },
    "top": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": 3},
}


@router.post(
    "/v1/audio/languages",
    summary="Identify the language of a recording",
    openapi_extra=form_body(_PROPERTIES, ("file",)),
)
async def identify(request: Request) -> Response:
    """Return the most likely languages of a recording, and of each part of it."""
    call = call_of(request)
    call.allow("identify")
    identifier = call.service.models.identifier
    if identifier is None:
        raise missing_task("language identification")
    call.admit("identify")
    form = await call.form()
    codes = values(form, "languages")
    among = [language_code(one, identifier.languages, "languages[]") for one in codes] or None
    top = _top(form)
    upload = form.file()

    async def answer() -> Response:
        async with call.service.decoded(call.client, upload.file) as audio:
            call.free_body()
            call.audio_seconds = audio.seconds
            found = await call.service.run_task(
                call.client, lambda: identifier.identify(audio, among, top)
            )
        names = {one.code: one.name for one in all_languages("lid")}
        body = msgspec.to_builtins(found)
        for score in body["scores"]:
            score["name"] = names.get(score["code"], "")
        return JSONResponse(body)

    return await call.while_connected(answer())


def _top(form: Form) -> int:
    given = form.one("top", "3")
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= _MOST:
        raise invalid(f"top must be a number from 1 to {_MOST}, not {given!r}", "top")
    return int(given)
