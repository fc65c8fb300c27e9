"""Python backend of Triton: parameters of a model, tensors and errors."""

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import triton_python_backend_utils as pb_utils

from mms_engine.asr.recognizer import Recognizer
from mms_engine.errors import (
    AudioError,
    CapacityError,
    LanguageError,
    MmsError,
    StreamError,
)
from mms_engine.types import Device

Request = Any
"""`InferenceRequest`; like the other types of the backend, it has no annotations."""
Response = Any
"""`InferenceResponse`."""


def open_recognizer(args: Mapping[str, str]) -> Recognizer:
    """Open the bundle that the parameters of a model name.

    Args:
        args: Arguments of `TritonPythonModel.initialize`.

    Raises:
        TritonModelException: it cannot be opened.
    """
    parameters = json.loads(args["model_config"])["parameters"]
    values = {name: value["string_value"] for name, value in parameters.items()}
    try:
        device = cast("Device", values.get("device", "auto"))
        return Recognizer.open(values["bundle"], device=device)
    except (MmsError, OSError) as error:
        raise pb_utils.TritonModelException(str(error)) from error
    except KeyError as error:
        raise pb_utils.TritonModelException(
            f"config.pbtxt has no parameter {error}: it is the folder of a bundle"
        ) from error


def values(request: Request, name: str) -> Any:  # noqa: ANN401
    """Return an input's values without their shape, or `None` where the request lacks it."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else np.asarray(tensor.as_numpy()).reshape(-1)


def text(request: Request, name: str) -> str:
    """Return an input of one string; empty where the request lacks it."""
    found = values(request, name)
    return "" if found is None or not len(found) else as_text(found[0])


def as_text(value: bytes | str) -> str:
    """Return an element of a string tensor as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def strings(name: str, contents: list[bytes]) -> Any:  # noqa: ANN401
    """Return an output of strings, one for each row of the batch, shape `[rows, 1]`."""
    return pb_utils.Tensor(name, np.array(contents, np.object_).reshape(-1, 1))


def failure(error: Exception) -> Response:
    """Return the response of a request that failed."""
    codes = pb_utils.TritonError
    if isinstance(error, CapacityError):
        code = codes.UNAVAILABLE
    elif isinstance(error, AudioError | LanguageError | StreamError | ValueError):
        code = codes.INVALID_ARG
    else:
        code = codes.INTERNAL
    return pb_utils.InferenceResponse(error=codes(str(error), code))


def cancelled() -> Response:
    """Return the response of a request whose client left."""
    codes = pb_utils.TritonError
    return pb_utils.InferenceResponse(error=codes("the request was cancelled", codes.CANCELLED))
