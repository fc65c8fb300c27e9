"""`/v1/stream` over real sockets: its text, refusals before the handshake, limits, and the end."""

import base64
import contextlib
import json
import os
import signal
import socket
import struct
import threading
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
    with open_stream(small, query + "&model=whisper-1") as connection:
        connection.send(samples[::2].tobytes())
        connection.send(FINISH)
        session, *events, _ = events_of(connection)
    assert session["latency"] == "low"
    assert any(
        one["type"] == "partial" and one["stable_chars"] < len(one["text"]) for one in events
    )
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


def raw_request(server: ServerProcess, *more: str, path: str = "/v1/stream") -> socket.socket:
    """Return a connection that has asked for an upgrade."""
    lines = [
        f"GET {path}?language=eng HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *more,
    ]
    connection = server.connect()
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def upgraded(server: ServerProcess, *more: str) -> socket.socket:
    """Return a connection behind the handshake."""
    connection = raw_request(server, *more)
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 101"), received
    return connection


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, length: int = -1) -> bytes:
    """Return a frame of a client; `length` may lie."""
    size = len(payload) if length < 0 else length
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0xFE]) + struct.pack("!H", size)
    else:
        head += bytes([0xFF]) + struct.pack("!Q", size)
    return head + b"\0\0\0\0" + payload  # masked with zeros


def closing_code(connection: socket.socket) -> int:
    """Return the code of the close frame, behind any other frames; 0 without one."""
    received = b""
    while more := connection.recv(65536):
        received += more
    place = received.find(b"\x88")
    return struct.unpack("!H", received[place + 2 : place + 4])[0] if place >= 0 else 0


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


def test_frame_over_the_limit_is_refused_before_it_is_read(small) -> None:
    with upgraded(small) as connection:
        connection.sendall(frame(2, length=MAX_FRAME + 1))
        assert closing_code(connection) == 1009


def test_fragments_over_the_limit_are_refused(small) -> None:
    with upgraded(small) as connection:
        connection.sendall(frame(2, b"\0" * MAX_FRAME, final=False) + frame(0, b"\0\0"))
        assert closing_code(connection) == 1009


def flood(connection: socket.socket, content: bytes, times: int) -> None:
    try:
        for _ in range(times):
            connection.sendall(content)
    except OSError:
        pass


@pytest.mark.parametrize(
    "begin_and_rest",
    [
        (frame(2, b"x", final=False), frame(0, final=False)),
        (b"", frame(2)),
        (b"", frame(9, b"x" * 100)),
        (b"", frame(10)),
        (b"", frame(1, b'{"type": "flush"}')),
    ],
    ids=["fragments", "empty", "pings", "pongs", "flushes"],
)
def test_flood_of_small_frames_needs_no_memory(small, begin_and_rest) -> None:
    begin, rest = begin_and_rest
    connection = upgraded(small)
    before = small.resident_bytes()
    connection.sendall(begin)
    sender = threading.Thread(target=flood, args=(connection, rest * 10_000, 30))
    sender.start()  # it does not read
    sender.join(5)
    assert small.get("/health/live")[0] == 200
    assert small.resident_bytes() - before < 64 << 20
    with contextlib.suppress(OSError):  # the server may have closed it
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
    sender.join()


def test_incomplete_messages_together_are_bounded(demo_bundle) -> None:
    options = ("--bundle", demo_bundle, "--no-admission", "--max-uploads-bytes", 1 << 20)
    with running(*options) as server:
        one, other = upgraded(server), upgraded(server)
        one.sendall(frame(2, b"\0" * 900_000, length=1 << 20))
        server.wait_metric("mms_upload_bytes", 900_000)
        other.sendall(frame(2, b"\0" * 500_000, length=1 << 20))
        assert closing_code(other) == 1013
        one.close()
        other.close()
        server.wait_metric("mms_upload_bytes", 0)


def test_frames_right_behind_the_request_are_not_lost_memory(small) -> None:
    """They arrive before the handshake was answered."""
    with raw_request(small) as connection:
        connection.sendall(frame(2, b"\0" * 1000) * 100)
        assert connection.recv(12) == b"HTTP/1.1 101"


def test_requests_that_are_no_handshake(small) -> None:
    status, text = small.get("/v1/stream?language=eng")
    assert status == 404
    assert json.loads(text)["error"]["code"] == "not_found"
    with raw_request(small, "Sec-WebSocket-Version: 9") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 4")
    with raw_request(small, path="/v1/nothing") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 403")


def test_slow_handshake_ends(demo_bundle) -> None:
    with running("--bundle", demo_bundle, "--header-seconds", 1) as server, server.connect() as it:
        it.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
        assert read_answer(it)[0] == 408


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
