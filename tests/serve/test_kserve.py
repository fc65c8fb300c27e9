"""The Open Inference Protocol: Triton's own client, and damaged requests."""

import json
import struct
import urllib.request

import numpy as np
import pytest

from mms_engine import read_audio
from server_process import ServerProcess, read_answer

client_module = pytest.importorskip("tritonclient.http")


@pytest.fixture
def client(server: ServerProcess):
    with client_module.InferenceServerClient(f"127.0.0.1:{server.port}") as opened:
        yield opened


def tensor(name: str, values: np.ndarray, kind: str, *, binary: bool = True):
    made = client_module.InferInput(name, list(values.shape), kind)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def text(value: bytes | str) -> np.ndarray:
    return np.array([value], dtype=object)


def test_health_and_metadata(client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("demo")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("demo")
    assert [one["name"] for one in metadata["inputs"]] == ["audio", "language"]


@pytest.mark.parametrize("kind", ["file", "samples"])
@pytest.mark.parametrize("binary", [True, False])
def test_text_is_that_of_the_library(client, clip, recognizer, kind, binary) -> None:
    wanted = recognizer.transcribe(clip.path, "eng")
    if kind == "file":
        audio = tensor("audio", text(clip.path.read_bytes()), "BYTES")
    else:
        samples = read_audio(clip.path).samples[np.newaxis]
        audio = tensor("audio", samples, "FP32", binary=binary)
    language = tensor("language", text("en"), "BYTES", binary=binary)
    outputs = [
        client_module.InferRequestedOutput(name, binary_data=binary) for name in ("text", "words")
    ]
    found = client.infer("demo", [audio, language], outputs=outputs, request_id="7")
    assert found.get_response()["id"] == "7"

    def value(name: str) -> str:
        (content,) = found.as_numpy(name).ravel()
        return content.decode() if isinstance(content, bytes) else content

    assert value("text") == wanted.text
    assert [word["text"] for word in json.loads(value("words"))] == wanted.text.split()


def test_every_output_without_a_choice(client, clip) -> None:
    audio = tensor("audio", text(clip.path.read_bytes()), "BYTES")
    found = client.infer("demo", [audio, tensor("language", text("eng"), "BYTES")])
    assert found.as_numpy("language").tolist() == [b"eng"]
    assert found.as_numpy("text").shape == (1,)


def test_errors_are_those_of_the_client(client, clip) -> None:
    audio = tensor("audio", text(clip.path.read_bytes()), "BYTES")
    for inputs in ([audio], [audio, tensor("language", text("zz"), "BYTES")]):
        with pytest.raises(client_module.InferenceServerException):
            client.infer("demo", inputs)


@pytest.mark.parametrize(
    ("head", "binary", "length"),
    [
        ({}, b"", None),
        ({"inputs": []}, b"", None),
        ({"inputs": [{"name": "audio"}]}, b"", None),
        ({"inputs": [{"name": "audio", "datatype": "BYTES", "data": [7]}]}, b"", None),
        ({"inputs": [{"name": "audio", "datatype": "FP32", "data": ["x"]}]}, b"", None),
        ({"inputs": [{"name": "a", "datatype": "INT8", "data": [1]}]}, b"", None),
        ({"inputs": [{"name": "audio"}] * 1000}, b"", None),
        *(
            (
                {
                    "inputs": [
                        {
                            "name": "audio",
                            "datatype": kind,
                            "parameters": {"binary_data_size": size},
                        }
                    ]
                },
                binary,
                None,
            )
            for kind, size, binary in (
                ("BYTES", 100, b"x"),
                ("BYTES", -1, b"x"),
                ("BYTES", "4", b"xxxx"),
                ("BYTES", 2, b"xx"),
                ("BYTES", 8, struct.pack("<I", 1 << 31) + b"xxxx"),
                ("FP32", 3, b"xxx"),
            )
        ),
        ({"inputs": []}, b"", 10**9),
        ({"inputs": []}, b"", -5),
    ],
)
def test_damaged_request_is_an_error(server, head, binary, length) -> None:
    header = json.dumps(head).encode()
    lines = [
        "POST /v2/models/demo/infer HTTP/1.1",
        "Host: test",
        f"Inference-Header-Content-Length: {len(header) if length is None else length}",
        f"Content-Length: {len(header) + len(binary)}",
    ]
    with server.connect() as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + header + binary)
        status, _, answer = read_answer(connection)
    assert status == 400
    assert answer["error"]["message"]


def test_plain_json_works_without_a_client(server, clip) -> None:
    samples = read_audio(clip.path).samples[:8000].tolist()
    body = {
        "inputs": [
            {"name": "audio", "datatype": "FP32", "shape": [8000], "data": samples},
            {"name": "language", "datatype": "BYTES", "shape": [1], "data": ["eng"]},
        ]
    }
    request = urllib.request.Request(  # noqa: S310
        f"{server.url}/v2/models/demo/infer", json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        found = json.load(response)
    assert [one["name"] for one in found["outputs"]] == ["text", "words", "language"]
