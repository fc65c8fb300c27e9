"""Transcription by the Open Inference Protocol (KServe v2), as Triton's clients speak it."""

import asyncio
import io
import json
import struct
from typing import Any, BinaryIO

import msgspec
import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from mms_engine.serve.call import Call, call_of
from mms_engine.serve.errors import invalid
from mms_engine.serve.languages import language_code
from mms_engine.serve.models import SpeechModel
from mms_engine.serve.rest.recognition import transcribed
from mms_engine.types import Float32Array, Transcript

router = APIRouter(prefix="/v2", tags=["KServe v2"])

_HEADER_LENGTH = "inference-header-content-length"
_MAX_INPUTS = 8
_INPUTS = (("audio", "BYTES", [1]), ("language", "BYTES", [1]))
_OUTPUTS = ("text", "words", "language")


class _Tensor(msgspec.Struct):
    name: str
    datatype: str = ""
    shape: list[int] = []
    data: Any = None
    parameters: dict[str, Any] = {}


class _Inference(msgspec.Struct):
    inputs: list[_Tensor]
    outputs: list[_Tensor] = []
    id: str = ""
    parameters: dict[str, Any] = {}


_TENSOR = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "enum": ["BYTES", "FP32"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"description": "Values, unless they follow the JSON in binary form."},
        "parameters": {"type": "object", "description": "`binary_data_size`, `binary_data`."},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {
                            "type": "array",
                            "items": _TENSOR,
                            "maxItems": _MAX_INPUTS,
                            "description": "`audio`, and `language` as BYTES.",
                        },
                        "outputs": {"type": "array", "items": _TENSOR},
                        "parameters": {"type": "object"},
                    },
                }
            },
            "application/octet-stream": {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": f"The JSON, of `{_HEADER_LENGTH}` bytes, and binary tensors.",
                }
            },
        },
    }
}


@router.get("", summary="Server metadata")
async def server_metadata() -> dict[str, Any]:
    """Return the name and the extensions of the server."""
    return {"name": "mms-engine", "version": "2", "extensions": ["binary_tensor_data"]}


@router.get("/health/live", summary="Whether the process answers")
async def live() -> Response:
    """Return 200."""
    return Response()


@router.get("/health/ready", summary="Whether requests are taken")
async def ready(request: Request) -> Response:
    """Return 200, or 503 while loading and draining, and after a failure."""
    return Response(status_code=200 if call_of(request).service.state == "ready" else 503)


@router.get("/models/{name}/ready", summary="Whether a model is open")
@router.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
async def model_ready(request: Request, name: str) -> Response:
    """Return 200, or 404."""
    call = call_of(request)
    call.authenticate()
    call.service.models.find(name)
    return Response()


@router.get("/models/{name}", summary="Inputs and outputs of a model")
@router.get("/models/{name}/versions/{version}", include_in_schema=False)
async def model_metadata(request: Request, name: str) -> dict[str, Any]:
    """Return the tensors; `audio` may also be samples at 16 kHz, FP32 `[N]` or `[1, N]`."""
    call = call_of(request)
    call.authenticate()
    call.service.models.find(name)
    return {
        "name": name,
        "versions": ["1"],
        "platform": "mms-engine",
        "inputs": [{"name": n, "datatype": kind, "shape": shape} for n, kind, shape in _INPUTS],
        "outputs": [{"name": n, "datatype": "BYTES", "shape": [1]} for n in _OUTPUTS],
    }


@router.post("/models/{name}/infer", summary="Transcribe a recording", openapi_extra=_BODY)
@router.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
async def infer(request: Request, name: str) -> Response:
    """Return the text of a recording, its words as JSON, and its language."""
    call = call_of(request)
    call.admit("transcribe")
    model = call.service.models.find(name)
    content = bytearray()
    async for chunk in call.body():
        content += chunk
    inference, values = await asyncio.to_thread(_read, call, bytes(content))
    del content
    language = language_code(_text(values, "language"), model.languages)
    source = _audio(values)

    async def answer() -> Response:
        async with call.service.decoded(call.client, source) as audio:
            transcript = await transcribed(call, model, audio, language)
        return _answer(inference, model, transcript)

    return await call.while_connected(answer())


def _read(call: Call, content: bytes) -> tuple[_Inference, dict[str, Any]]:
    """Return a request, and the values of its inputs by name.

    Raises:
        ApiError: 400.
    """
    try:
        length = int(call.headers.get(_HEADER_LENGTH, len(content)))
        if not 0 < length <= len(content):
            raise ValueError(f"a header of {length} bytes in a body of {len(content)}")
        inference = msgspec.json.decode(content[:length], type=_Inference)
        if len(inference.inputs) > _MAX_INPUTS:
            raise ValueError(f"{len(inference.inputs)} inputs, the limit is {_MAX_INPUTS}")
        return inference, _values(inference.inputs, memoryview(content)[length:])
    except (ValueError, TypeError, OverflowError, RecursionError, struct.error) as error:
        raise invalid(f"the request cannot be read: {error}", "inputs") from error


def _values(inputs: list[_Tensor], binary: memoryview) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for tensor in inputs:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            values[tensor.name] = _from_json(tensor)
            continue
        if not isinstance(size, int) or not 0 <= size <= len(binary):
            raise ValueError(f"{tensor.name} declares {size} bytes, there are {len(binary)}")
        values[tensor.name] = _from_binary(tensor, binary[:size])
        binary = binary[size:]
    return values


def _from_json(tensor: _Tensor) -> Any:  # noqa: ANN401
    if tensor.datatype == "FP32":
        return np.array(tensor.data, np.float32).ravel()
    data = tensor.data if isinstance(tensor.data, list) else [tensor.data]
    if tensor.datatype != "BYTES" or len(data) != 1 or not isinstance(data[0], str):
        raise ValueError(f"{tensor.name} must be BYTES with one element")
    return data[0].encode()


def _from_binary(tensor: _Tensor, content: memoryview) -> Any:  # noqa: ANN401
    if tensor.datatype == "FP32":
        return np.frombuffer(content, "<f4").astype(np.float32)
    (length,) = struct.unpack_from("<I", content)
    if tensor.datatype != "BYTES" or length + 4 != len(content):
        raise ValueError(f"{tensor.name} must be BYTES with one element")
    return bytes(content[4:])


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, bytes):
        raise invalid(f"the input {name} (BYTES) is missing", name)
    return value.decode(errors="replace")


def _audio(values: dict[str, Any]) -> BinaryIO | Float32Array:
    value = values.get("audio")
    if value is None:
        raise invalid("the input audio (BYTES or FP32) is missing", "audio")
    return io.BytesIO(value) if isinstance(value, bytes) else value


def _answer(inference: _Inference, model: SpeechModel, transcript: Transcript) -> Response:
    contents = {
        "text": transcript.text.encode(),
        "words": msgspec.json.encode(transcript.words),
        "language": transcript.language.encode(),
    }
    wanted = inference.outputs or [_Tensor(name) for name in contents]
    everything = bool(inference.parameters.get("binary_data_output"))
    outputs, binary = [], b""
    for tensor in wanted:
        if tensor.name not in contents:
            raise invalid(f"no output {tensor.name!r}; there are {', '.join(contents)}", "outputs")
        content = contents[tensor.name]
        output: dict[str, Any] = {"name": tensor.name, "datatype": "BYTES", "shape": [1]}
        if tensor.parameters.get("binary_data", everything):
            piece = struct.pack("<I", len(content)) + content
            output["parameters"] = {"binary_data_size": len(piece)}
            binary += piece
        else:
            output["data"] = [content.decode()]
        outputs.append(output)
    body = {"model_name": model.id, "model_version": "1", "id": inference.id, "outputs": outputs}
    if not binary:
        return JSONResponse(body)
    head = json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Response(head + binary, media_type="application/octet-stream", headers=headers)
