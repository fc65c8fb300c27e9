"""List of models, as OpenAI's clients read it."""

from typing import Any

from fastapi import APIRouter, Request

from mms_engine.serve.call import call_of
from mms_engine.serve.service import Service

router = APIRouter(tags=["models"])


@router.get("/v1/models", summary="Models of speech recognition and of voices")
async def list_models(request: Request) -> dict[str, Any]:
    """Return the models, and the aliases by which they are known."""
    call = call_of(request)
    call.authenticate()
    models = call.service.models
    names = models.ids + sorted(models.aliases)
    return {"object": "list", "data": [_model(call.service, name) for name in names]}


@router.get("/v1/models/{name:path}", summary="One model")
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """Return a model."""
    call = call_of(request)
    call.authenticate()
    call.service.models.id_of(name)
    return _model(call.service, name)


def _model(service: Service, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": service.created,
        "owned_by": "mms-engine",
        "root": service.models.id_of(name),
    }
