"""Stand-in for Triton's Python backend, with the documented interface, and a loader of models."""

import importlib.util
import json
import queue
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format

from triton_protos import config_protos, read_config

FINAL = 1
DTYPES = {"TYPE_STRING": np.object_, "TYPE_FP32": np.float32}


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class TritonError:
    (
        UNKNOWN,
        INTERNAL,
        NOT_FOUND,
        INVALID_ARG,
        UNAVAILABLE,
        UNSUPPORTED,
        ALREADY_EXISTS,
        CANCELLED,
    ) = range(8)

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        self._message, self._code = message, code

    def message(self) -> str:
        return self._message

    def code(self) -> int:
        return self._code


class TritonModelException(Exception):
    pass


class InferenceResponse:
    def __init__(self, output_tensors: Any = (), error: TritonError | None = None) -> None:
        self._outputs, self._error = list(output_tensors), error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error

    def output_tensors(self) -> list[Tensor]:
        return self._outputs


class InferenceResponseSender:
    """Keeps what is sent; `responses` yields it until the final flag."""

    def __init__(self) -> None:
        self._sent: queue.SimpleQueue[tuple[InferenceResponse | None, int]] = queue.SimpleQueue()
        self._is_final = False

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        assert not self._is_final, "a response after the final one"
        assert response is not None or flags == FINAL
        self._is_final = flags == FINAL
        self._sent.put((response, flags))

    def is_cancelled(self) -> bool:
        return False

    def responses(self, timeout: float = 30.0) -> list[InferenceResponse]:
        found, flags = [], 0
        while flags != FINAL:
            response, flags = self._sent.get(timeout=timeout)
            if response is not None:
                found.append(response)
        return found


class InferenceRequest:
    def __init__(self, inputs: list[Tensor], *, is_cancelled: bool = False) -> None:
        self.inputs, self._is_cancelled = inputs, is_cancelled
        self.sender = InferenceResponseSender()

    def is_cancelled(self) -> bool:
        return self._is_cancelled

    def get_response_sender(self) -> InferenceResponseSender:
        return self.sender


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    return next((tensor for tensor in request.inputs if tensor.name() == name), None)


def install(monkeypatch: Any) -> None:
    """Make the stand-in importable under the name of the backend's module."""
    module = types.ModuleType("triton_python_backend_utils")
    for kind in (Tensor, TritonError, TritonModelException, InferenceResponse, InferenceRequest):
        setattr(module, kind.__name__, kind)
    module.get_input_tensor_by_name = get_input_tensor_by_name
    module.TRITONSERVER_RESPONSE_COMPLETE_FINAL = FINAL
    monkeypatch.setitem(sys.modules, module.__name__, module)


class HostedModel:
    """A model of a repository, loaded as Triton's Python backend does, and its configuration.

    Inputs and outputs are checked against the configuration.
    """

    def __init__(self, folder: Path) -> None:
        self.config = read_config(folder)
        path = folder / "1" / "model.py"
        spec = importlib.util.spec_from_file_location(f"{folder.name}_model", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.model = module.TritonPythonModel()
        # Triton's JSON has 64-bit integers as numbers or strings, and the names of the fields.
        text = json_format.MessageToJson(self.config, preserving_proto_field_name=True)
        self.model.initialize(
            {
                "model_config": text,
                "model_instance_kind": "MODEL",
                "model_instance_device_id": "0",
                "model_repository": str(folder),
                "model_version": "1",
                "model_name": self.config.name,
            }
        )

    def request(self, *, is_cancelled: bool = False, **inputs: np.ndarray) -> InferenceRequest:
        declared = {tensor.name: tensor for tensor in self.config.input}
        for name, array in inputs.items():
            assert array.dtype == self._dtype(declared[name]), name
            dims = list(declared[name].dims)
            assert len(array.shape) == 1 + len(dims)
            assert all(want in (-1, size) for want, size in zip(dims, array.shape[1:], strict=True))
        missing = declared.keys() - inputs.keys()
        assert all(declared[name].optional for name in missing), missing
        tensors = [Tensor(name, array) for name, array in inputs.items()]
        return InferenceRequest(tensors, is_cancelled=is_cancelled)

    def sequenced(
        self, key: int, *, start: bool = False, end: bool = False, **inputs: np.ndarray
    ) -> InferenceRequest:
        """Return a request of a sequence, with the control inputs that the configuration names."""
        given = {"START": start, "END": end, "READY": True, "CORRID": key}
        request = self.request(**inputs)
        for entry in self.config.sequence_batching.control_input:
            (control,) = entry.control
            kind = type(control).Kind.Name(control.kind).removeprefix("CONTROL_SEQUENCE_")
            value = np.array([[given[kind]]])
            if kind == "CORRID":
                assert control.data_type == config_protos().DataType.Value("TYPE_UINT64")
                request.inputs.append(Tensor(entry.name, value.astype(np.uint64)))
            else:
                table = np.array(control.int32_false_true, np.int32)
                request.inputs.append(Tensor(entry.name, table[value.astype(int)]))
        return request

    def outputs(self, response: InferenceResponse) -> dict[str, list[bytes]]:
        """Return the strings of a response by name; the tensors must be those declared."""
        assert not response.has_error(), response.error().message()
        found = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
        assert sorted(found) == sorted(tensor.name for tensor in self.config.output)
        for tensor in self.config.output:
            array = found[tensor.name]
            assert array.dtype == self._dtype(tensor)
            assert list(array.shape[1:]) == list(tensor.dims)
        return {name: [bytes(one) for one in array.ravel()] for name, array in found.items()}

    @staticmethod
    def _dtype(tensor: Any) -> Any:
        return DTYPES[config_protos().DataType.Name(tensor.data_type)]


def as_json(content: bytes) -> Any:
    return json.loads(content)
