"""`/v1/stream` over real sockets: its text, refusals before the handshake, limits, and the end."""

import contextlib
import json
import signal
import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from engine_demo import Clip
from mms_engine import Recognizer, StreamOptions, read_audio
from mms_engine.asr.streaming.events import event_fields
from mms_engine.serve.auth import new_key
from raw_sockets import frame, raw_request, upgraded
from server_process import ServerProcess, read_answer, running

FINISH = '{"type": "finish"}'
MAX_FRAME = 1 << 20


@pytest.fixture(scope="module")
def small(demo_bundle) -> Iterator[ServerProcess]:
    """A server with small limits."""
    options = ("--no-admission", "--max-streams", 6, "--max-client-streams", 4)
    limits = ("--max-frame-bytes", MAX_FRAME, "--stream-idle-seconds", 1)
    with running("--bundle", demo_bundle, *options, *limits) as started:
        yield started


@pytest.fixture(autouse=True)
def _whole(small: ServerProcess) -> Iterator[None]:
    """Check that nothing is left on the server after the test."""
    yield
    for name in ("mms_sockets", "mms_streams", "mms_upload_bytes"):
        small.wait_metric(name, 0)


@pytest.fixture(scope="module")
def samples(clip: Clip) -> np.ndarray:
    return read_audio(clip.path).samples


@pytest.fixture(scope="module")
def pcm(samples) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def url(server: ServerProcess, query: str = "language=eng") -> str:
    return f"ws://127.0.0.1:{server.port}/v1/stream?{query}"


def open_stream(server: ServerProcess, query: str = "language=eng", **more) -> ClientConnection:
    return connect(url(server, query), compression=None, proxy=None, **more)


def events_of(connection: ClientConnection) -> list[dict]:
    """Return the messages until the server closes the connection."""
    events = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            events.append(json.loads(connection.recv(60)))
    return events


def refusal(server: ServerProcess, query: str = "language=eng", **more) -> tuple[int, dict, dict]:
    with pytest.raises(InvalidStatus) as raised:
        open_stream(server, query, **more)
    response = raised.value.response
    return response.status_code, json.loads(response.body)["error"], response.headers


def without_clock(events: list[dict]) -> list[dict]:
    return [{k: v for k, v in one.items() if k != "wall_seconds"} for one in events]


@pytest.mark.parametrize("piece", [101, 3200, 1 << 20])
def test_events_are_those_of_the_library(small, recognizer: Recognizer, pcm, piece) -> None:
    with open_stream(small) as connection:
        for start in range(0, len(pcm), piece):
            connection.send(pcm[start : start + piece])
        connection.send(FINISH)
        session, *events, end = events_of(connection)
        assert connection.close_code == 1000
    assert session == {
        "type": "session",
        "id": session["id"],
        "model": "demo",
        "language": "eng",
        "latency": "balanced",
        "warnings": [],
    }
    stream = recognizer.stream("eng", StreamOptions(sample_format="s16le"))
    wanted = [json.loads(json.dumps(event_fields(e))) for e in stream.feed(pcm) + stream.finish()]
    final = [one["text"] for one in events if one["type"] == "final"]
    assert final == [one["text"] for one in wanted if one["type"] == "final"]
    assert [set(one) for one in events if one["type"] != "partial"] == [
        set(one) for one in wanted if one["type"] != "partial"
    ]
    assert end == {"type": "end", "audio_seconds": 2.8006}


def test_options_are_those_of_the_query(small, recognizer, samples) -> None:
    query = "language=en&format=f32le&latency=low&tentative=true&pause=0.3&sample_rate=8000"
    audio = samples[::2]
    with open_stream(small, query + "&model=whisper-1") as connection:
        connection.send(audio[:12_000].tobytes())
        session = json.loads(connection.recv())
        # The rest comes behind it: with all of the audio there, no text is tentative.
        event = json.loads(connection.recv(timeout=60))
        connection.send(audio[12_000:].tobytes())
        connection.send(FINISH)
        *events, _ = events_of(connection)
    assert session["latency"] == "low"
    assert event["type"] == "partial"
    assert event["stable_chars"] < len(event["text"])
    assert {one.get("reason") for one in events if one["type"] == "endpoint"} == {"pause", "end"}


def test_flush_ends_an_utterance(small, pcm) -> None:
    with open_stream(small) as connection:
        connection.send(pcm)
        connection.send('{"type": "flush"}')
        kinds = []
        while kinds[-1:] != ["endpoint"]:
            kinds.append(json.loads(connection.recv())["type"])
        connection.send(pcm)
        connection.send(FINISH)
        assert [e["reason"] for e in events_of(connection) if e["type"] == "endpoint"] == ["end"]


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("language=xx", 400, "language"),
        ("language=auto", 400, "language"),
        ("language=eng&model=x", 404, "model"),
        ("language=eng&format=mp3", 400, "format"),
        ("language=eng&latency=none", 400, "latency"),
        ("language=eng&sample_rate=5", 400, "sample_rate"),
        ("language=eng&sample_rate=nan", 400, "sample_rate"),
        ("language=eng&pause=-1", 400, "pause"),
        ("language=eng&pause=x", 400, "pause"),
        ("language=eng&tentative=2", 400, "tentative"),
        ("language=eng&language=fra", 400, "language"),
        ("lang=eng", 400, "lang"),
    ],
)
def test_parameter_that_cannot_be_used_refuses_the_handshake(small, query, status, param) -> None:
    found, error, headers = refusal(small, query)
    assert (found, error["param"]) == (status, param)
    assert headers["x-request-id"].startswith("req-")
    assert headers["content-type"] == "application/json"


def test_streams_of_a_client_are_bounded(small) -> None:
    opened = [open_stream(small) for _ in range(4)]
    try:
        begin = time.monotonic()
        status, error, headers = refusal(small)
        assert time.monotonic() - begin < 0.5
        assert (status, error["code"]) == (429, "rate_limit_exceeded")
        assert headers["retry-after"] == "5"
    finally:
        for one in opened:
            one.close()


def test_web_pages_of_other_origins_are_refused(small) -> None:
    for origin in ("https://evil.example", "null"):
        with raw_request(small, f"Origin: {origin}") as connection:
            status, _, answer = read_answer(connection)
            assert (status, answer["error"]["code"]) == (403, "bad_origin")
    upgraded(small, "Origin: http://127.0.0.1").close()


def test_keys_in_the_header_or_in_a_sub_protocol(demo_bundle, tmp_path) -> None:
    secrets, lines = {}, []
    for name, scope in (("writer", "transcribe"), ("watcher", "metrics")):
        secrets[name], line = new_key(name, (scope,))
        lines.append(line)
    file = tmp_path / "keys.txt"
    file.write_text("\n".join(lines))
    server = ServerProcess("--bundle", demo_bundle, "--keys", file, "--no-admission")
    try:
        server.wait_ready()
        assert refusal(server)[:2] == (401, {**refusal(server)[1], "code": "missing_api_key"})
        status, error, headers = refusal(
            server, additional_headers={"Authorization": "Bearer wrong"}
        )
        assert (status, error["code"]) == (401, "invalid_api_key")
        assert headers["www-authenticate"] == "Bearer"
        for name, wanted in (("writer", 101), ("watcher", 403)):
            header = {"Authorization": f"Bearer {secrets[name]}"}
            protocols = ["mms-stream", f"openai-insecure-api-key.{secrets[name]}"]
            if wanted == 403:
                assert refusal(server, additional_headers=header)[0] == 403
                assert refusal(server, subprotocols=protocols)[0] == 403
                continue
            open_stream(server, additional_headers=header).close()
            with open_stream(server, subprotocols=protocols) as connection:
                assert connection.subprotocol == "mms-stream"
        server.wait_log("key writer")
        assert not any(secret in server.log for secret in secrets.values())
    finally:
        server.close()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x", "invalid_message"),
        ("[]", "invalid_message"),
        ('{"type": "config"}', "invalid_message"),
        ("[" * 100_000, "invalid_message"),
        (b"\0\0\xc0\x7f", "invalid_audio"),  # NaN
    ],
)
def test_message_that_is_wrong_ends_the_stream(small, message, code) -> None:
    with open_stream(small, "language=eng&format=f32le") as connection:
        connection.send(message)
        *_, error = events_of(connection)
        assert (error["type"], error["error"]["code"]) == ("error", code)
        assert connection.close_code == 1008


def test_audio_after_the_end_is_an_error(small, pcm) -> None:
    with open_stream(small) as connection:
        connection.send(pcm)
        connection.send(FINISH)
        connection.send(pcm)
        assert events_of(connection)[-1]["type"] in ("error", "end")


def test_client_that_sends_nothing_is_closed(small) -> None:
    begin = time.monotonic()
    with open_stream(small) as connection:
        *_, error = events_of(connection)
        assert error["error"]["code"] == "idle_timeout"
        assert connection.close_code == 1008
    assert 0.9 < time.monotonic() - begin < 5


def test_client_that_leaves_ends_its_stream(small, pcm) -> None:
    for end in (b"", frame(8, struct.pack("!H", 1000)), frame(2, b"", length=MAX_FRAME)):
        connection = upgraded(small)
        connection.sendall(frame(2, pcm) + end)
        connection.close()
    small.wait_metric("mms_streams", 0)
    small.wait_log("audio=2.8s")


def test_requests_that_are_no_handshake(small) -> None:
    status, text = small.get("/v1/stream?language=eng")
    assert status == 404
    assert json.loads(text)["error"]["code"] == "not_found"
    with raw_request(small, "Sec-WebSocket-Version: 9") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 4")
    with raw_request(small, path="/v1/nothing") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 403")


def test_sigterm_lets_streams_end_and_takes_no_more(demo_bundle, pcm) -> None:
    with (
        running("--bundle", demo_bundle, "--no-admission") as server,
        open_stream(server) as stream,
    ):
        stream.send(pcm)
        server.process.send_signal(signal.SIGTERM)
        while server.get("/health/ready")[0] == 200:
            time.sleep(0.01)
        status, error, headers = refusal(server)
        assert (status, error["code"], headers["retry-after"]) == (503, "draining", "1")
        stream.send(FINISH)
        *_, end = events_of(stream)
        assert end["type"] == "end"
        assert server.process.wait(30) == 0


def test_streams_are_closed_when_draining_ends(demo_bundle, pcm) -> None:
    options = ("--bundle", demo_bundle, "--no-admission", "--drain-seconds", 1)
    with running(*options) as server, open_stream(server) as stream:
        stream.send(pcm)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as raised:
            while True:
                stream.recv()
        assert raised.value.rcvd.code == 1012
        assert raised.value.rcvd.reason == "the server ends"
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log


def test_log_has_neither_text_nor_hotwords(small, pcm) -> None:
    with open_stream(small, "language=eng&hotwords=zanzibar") as connection:
        connection.send(pcm)
        connection.send(FINISH)
        events = events_of(connection)
    small.wait_log("SOCKET /v1/stream 101")
    words = [word for one in events if one["type"] == "final" for word in one["text"].split()]
    for word in ("zanzibar", *words):
        if len(word) > 4:
            assert word not in small.log
