"""The ASGI application: routes, errors and OpenAPI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from mms_engine.errors import AudioError
from mms_engine.serve.call import ClientLeft, call_of
from mms_engine.serve.errors import ApiError, api_error
from mms_engine.serve.middleware import CLIENT_LEFT, CallMiddleware
from mms_engine.serve.page import route as page
from mms_engine.serve.realtime import route as realtime
from mms_engine.serve.rest import (
    alignments,
    documentation,
    health,
    identification,
    kserve,
    languages,
    models,
    speech,
    transcriptions,
    voices,
)
from mms_engine.serve.rest.fields import named
from mms_engine.serve.service import Service
from mms_engine.serve.sessions.registry import Sessions
from mms_engine.serve.stream import route as stream

_ROUTERS = (
    transcriptions,
    speech,
    alignments,
    identification,
    kserve,
    languages,
    voices,
    models,
    health,
    documentation,
    page,
    stream,
    realtime,
)


def create_app(service: Service) -> ASGIApp:
    """Return the application of a service; closing its lifespan closes the service."""
    sessions = Sessions(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        sessions.close()
        await service.close()

    app = FastAPI(
        title="MMS Engine",
        version=version("mms-engine"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # FastAPI's own traces have the query and the messages of errors: ours are in `tracing`.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.sessions = sessions
    for module in _ROUTERS:
        app.include_router(module.router)
    app.add_exception_handler(ClientLeft, _left)
    for kind in (ApiError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _error)
    if origins := service.config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", speech.VOICE_HEADER, speech.DROPPED_HEADER],
        )
    return CallMiddleware(app, service)


async def _error(request: Request, error: Exception) -> Response:
    answer = _answer(error)
    call_of(request).code = answer.code
    return JSONResponse(answer.envelope(), answer.status, headers=answer.headers)


def _answer(error: Exception) -> ApiError:
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return ApiError(error.status_code, str(error.detail), code=code)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:])
        return ApiError(400, f"{param}: {first['msg']}", code="invalid_value", param=param)
    return api_error(named(error) if isinstance(error, AudioError) else error)


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)
