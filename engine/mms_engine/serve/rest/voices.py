"""List of voices."""

from typing import Any

from fastapi import APIRouter, Request

from mms_engine.serve.call import call_of
from mms_engine.serve.rest.languages import Limit, ModelName, Offset, SearchText, languages_page

router = APIRouter(tags=["models"])


@router.get("/v1/voices", summary="Voices that can speak")
async def list_voices(
    request: Request,
    query: SearchText = "",
    model: ModelName = "",
    limit: Limit = 2000,
    offset: Offset = 0,
) -> dict[str, Any]:
    """Return the voices of a model that match a query by their languages, best match first.

    On a server without voices there are none, which is no error.
    """
    call = call_of(request)
    call.authenticate()
    models = call.service.models
    if not models.voices:
        return {**languages_page((), query, limit, offset), "model": None, "default": None}
    chosen, default = models.find_voices(model)
    listed = languages_page(chosen.voices, query, limit, offset)
    for voice in listed["data"]:
        voice["id"] = voice["code"]
    return {**listed, "model": chosen.id, "default": default}
