"""List of voices."""

from typing import Any

from fastapi import APIRouter, Query, Request

from mms_engine.serve.call import call_of
from mms_engine.serve.rest.languages import languages_page

router = APIRouter(tags=["models"])


@router.get("/v1/voices", summary="Voices that can speak")
async def list_voices(
    request: Request,
    query: str = Query("", max_length=100, description="Code, name or country."),
    model: str = Query("", max_length=200, description="Model; by default the first."),
    limit: int = Query(2000, ge=1, le=2000),
    offset: int = Query(0, ge=0),
) -> dict[str, Any]:
    """Return the voices of a model that match a query by their languages, best match first."""
    call = call_of(request)
    call.authenticate()
    chosen, default = call.service.models.find_voices(model)
    listed = languages_page(chosen.voices, query, limit, offset)
    return {**listed, "model": chosen.id, "default": default}
