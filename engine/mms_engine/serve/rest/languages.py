"""List of languages."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from mms_engine.languages import all_languages, language_from_code, search
from mms_engine.serve.call import call_of
from mms_engine.serve.models import Models

router = APIRouter(tags=["models"])

SearchText = Annotated[str, Query(max_length=100, description="Code, name or country.")]
ModelName = Annotated[str, Query(max_length=200, description="Model; by default the first.")]
Limit = Annotated[int, Query(ge=1, le=2000, description="Number of results at most.")]
Offset = Annotated[int, Query(ge=0, description="Results to leave out at the beginning.")]


@router.get("/v1/languages", summary="Languages that can be transcribed")
async def list_languages(
    request: Request,
    query: SearchText = "",
    model: ModelName = "",
    limit: Limit = 2000,
    offset: Offset = 0,
) -> dict[str, Any]:
    """Return the languages of a model that match a query, best match first."""
    call = call_of(request)
    call.authenticate()
    models = call.service.models
    chosen = models.find(model)
    listed = languages_page(chosen.languages, query, limit, offset)
    return {**listed, "model": chosen.id, "tasks": _tasks(models)}


def languages_page(codes: Sequence[str], query: str, limit: int, offset: int) -> dict[str, Any]:
    """Return the languages of codes that match a query, best match first, and their number."""
    known = {language.code: language for language in all_languages()}
    found = search(query, [known.get(code) or language_from_code(code) for code in codes])
    data = [
        {
            "code": one.code,
            "name": one.name,
            "native": one.native,
            "iso639_1": one.iso1,
            "iso639_3": one.iso,
            "bcp47": one.tag,
            "script": one.writing,
            "country": one.country,
        }
        for one in found[offset : offset + limit]
    ]
    return {"object": "list", "data": data, "total": len(found)}


def _tasks(models: Models) -> list[str]:
    """Return the scopes of the tasks for which a bundle is open."""
    open_tasks = {"identify": models.identifier is not None, "speak": bool(models.voices)}
    return ["transcribe", "align", *(task for task, is_open in open_tasks.items() if is_open)]
