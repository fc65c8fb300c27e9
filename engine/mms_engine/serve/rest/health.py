"""Health and metrics."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mms_engine.serve.call import call_of

router = APIRouter(tags=["operation"])


@router.get("/health/live", summary="Whether the process answers")
async def live() -> Response:
    """Return 200."""
    return JSONResponse({"status": "ok"})


@router.get("/health/ready", summary="Whether requests are taken")
@router.get("/health", include_in_schema=False)
async def ready(request: Request) -> Response:
    """Return 200 with the state `ready`; 503 while loading and draining, and after a failure."""
    state = call_of(request).service.state
    return JSONResponse({"status": state}, 200 if state == "ready" else 503)


@router.get("/metrics", summary="Metrics in the text format of Prometheus")
async def metrics(request: Request) -> Response:
    """Return the metrics; needs the scope `metrics`."""
    call = call_of(request)
    call.allow("metrics")
    return PlainTextResponse(
        call.service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
