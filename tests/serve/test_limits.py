"""Hostile and overloading clients, over raw connections to a server with small limits."""

import io
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from engine_demo import Clip
from engine_sounds import sound
from server_process import (
    BOUNDARY,
    ServerProcess,
    form_bytes,
    read_answer,
    request_head,
    running,
)

MAX_BYTES = 2 << 20
BEGIN = form_bytes(b"")[: -len(f"\r\n--{BOUNDARY}--\r\n")]
"""A form up to the content of its file."""
PART = BEGIN + b"x" * (700_000 - len(BEGIN))


@pytest.fixture(scope="module")
def small(demo_bundle: Path) -> Iterator[ServerProcess]:
    options = {
        "--header-seconds": 1,
        "--body-seconds": 1,
        "--max-upload-bytes": MAX_BYTES,
        "--max-uploads-bytes": 3 * MAX_BYTES,
        "--max-seconds": 60,
        "--max-requests": 4,
        "--max-client-requests": 3,
        "--max-connections": 30,
    }
    flat = [part for option in options.items() for part in option]
    with running("--bundle", demo_bundle, *flat) as server:
        yield server


def post(server: ServerProcess, body: bytes, length: int | str | None = None, *more: str):
    with server.connect() as connection:
        connection.sendall(request_head(len(body) if length is None else length, *_path(), *more))
        connection.sendall(body)
        return read_answer(connection)


def _path() -> tuple[str]:
    return ("/v1/audio/transcriptions",)


@pytest.fixture
def works(small: ServerProcess, clip: Clip) -> Iterator[None]:
    """Check that the server is whole after the test."""
    yield
    small.wait_metric("mms_requests_running", 0)
    assert small.metric("mms_upload_bytes") == 0
    assert small.metric("mms_decoded_seconds") == 0
    status, _, answer = post(small, form_bytes(clip.path.read_bytes(), language="eng"))
    assert (status, bool(answer["text"])) == (200, True)


def encode(samples: np.ndarray, codec: str, kind: str) -> bytes:
    """Return mono samples at 48 kHz as an audio file."""
    content = io.BytesIO()
    with av.open(content, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        size = stream.codec_context.frame_size or 4800
        for start in range(0, len(samples), size):
            frame = av.AudioFrame.from_ndarray(
                samples[np.newaxis, start : start + size].copy(), format="s16", layout="mono"
            )
            frame.sample_rate = 48_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return content.getvalue()


@pytest.mark.usefixtures("works")
def test_slow_headers_end_the_connection(small) -> None:
    with small.connect() as connection:
        begin = time.monotonic()
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")

        def drip() -> None:
            try:
                for _ in range(50):
                    connection.sendall(b"X-More: 1\r\n")
                    time.sleep(0.1)
            except OSError:
                pass

        threading.Thread(target=drip).start()
        status, headers, answer = read_answer(connection)
        assert status == 408
        assert headers["connection"] == "close"
        assert answer["error"]["code"] == "request_timeout"
        assert 0.9 < time.monotonic() - begin < 3


@pytest.mark.usefixtures("works")
def test_connection_without_a_request_ends(small) -> None:
    with small.connect() as connection:
        assert read_answer(connection)[0] == 408


@pytest.mark.usefixtures("works")
def test_slow_body_is_refused(small) -> None:
    with small.connect() as connection:
        connection.sendall(request_head(100_000) + BEGIN)
        begin = time.monotonic()
        connection.settimeout(0.1)
        answer = None
        while answer is None and time.monotonic() - begin < 10:
            connection.sendall(b"x")
            try:
                answer = read_answer(connection)
            except TimeoutError:
                continue
        assert answer[0] == 408
        assert time.monotonic() - begin < 5


@pytest.mark.usefixtures("works")
def test_slow_bodies_do_not_keep_others_out(small, clip) -> None:
    with small.connect() as one, small.connect() as two:
        for connection in (one, two):
            connection.sendall(request_head(100_000) + BEGIN)
        status, _, answer = post(small, form_bytes(clip.path.read_bytes(), language="eng"))
        assert status == 200, answer


@pytest.mark.usefixtures("works")
def test_declared_size_over_the_limit_is_refused_before_the_body(small) -> None:
    with small.connect() as connection:
        begin = time.monotonic()
        connection.sendall(request_head(MAX_BYTES + 1))
        status, _, answer = read_answer(connection)
        assert (status, answer["error"]["code"]) == (413, "request_too_large")
        assert time.monotonic() - begin < 0.5


@pytest.mark.usefixtures("works")
def test_chunked_body_over_the_limit_is_refused_while_it_arrives(small) -> None:
    before = small.resident_bytes()
    with small.connect() as connection:
        head = request_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.sendall(head)
        connection.sendall(b"%x\r\n%s\r\n" % (len(BEGIN), BEGIN))
        chunk = b"10000\r\n" + b"\0" * 0x10000 + b"\r\n"
        sent = 0
        try:
            while sent < 50 * MAX_BYTES:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
        status, _, answer = read_answer(connection)
    assert (status, answer["error"]["code"]) == (413, "request_too_large")
    assert small.resident_bytes() - before < 20 * MAX_BYTES


@pytest.mark.usefixtures("works")
def test_refusal_is_read_by_a_client_that_still_sends(small) -> None:
    with small.connect() as connection:
        body = b"x" * (MAX_BYTES + 1)
        connection.sendall(request_head(len(body)))
        connection.sendall(body)  # would fail if the connection were reset
        assert read_answer(connection)[0] == 413


@pytest.mark.usefixtures("works")
@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "0x10", "+5", ""])
def test_impossible_content_length_is_an_error(small, length, clip) -> None:
    with small.connect() as connection:
        connection.sendall(request_head(length) + form_bytes(b"x"))
        received = connection.recv(65536)
    assert received.split()[1] in (b"400", b"413")


@pytest.mark.usefixtures("works")
def test_content_length_that_promises_more_ends_at_the_timeout(small, clip) -> None:
    body = form_bytes(clip.path.read_bytes(), language="eng")
    assert post(small, body, len(body) + 1000)[0] in (200, 408)


@pytest.mark.usefixtures("works")
def test_content_length_that_promises_less_cuts_the_form(small, clip) -> None:
    body = form_bytes(clip.path.read_bytes(), language="eng")
    with small.connect() as connection:
        connection.sendall(request_head(len(body) // 2))
        connection.sendall(body)
        status, _, answer = read_answer(connection)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.usefixtures("works")
def test_body_that_stops_with_the_connection_frees_its_place(small) -> None:
    for _ in range(10):
        with small.connect() as connection:
            connection.sendall(request_head(100_000) + BEGIN)


@pytest.mark.usefixtures("works")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--" + BOUNDARY.encode(),
        b"\r\n" * 10_000,
        form_bytes(b"x")[:-20],
        form_bytes(b"x").replace(b'name="file"', b""),
        form_bytes(b"x") * 2,
        form_bytes(b"x", **{f"f{i}": "" for i in range(3000)}),
        form_bytes(b"x", language="e" * (1 << 20) + "e"),
        form_bytes(
            b"x", language="eng", model="\udcff".encode("utf-8", "surrogatepass").decode("latin-1")
        ),
        form_bytes(b"x").replace(b"file", b"f\x00ile"),
    ],
    ids=range(10),
)
def test_malformed_form_is_an_error(small, body) -> None:
    status, _, answer = post(small, body)
    assert 400 <= status < 500
    assert answer["error"]["message"]


@pytest.mark.usefixtures("works")
def test_other_bodies_are_refused(small) -> None:
    head = request_head(2).replace(b"multipart/form-data; boundary=" + BOUNDARY.encode(), b"a/b")
    with small.connect() as connection:
        connection.sendall(head + b"{}")
        assert read_answer(connection)[0] == 415


@pytest.mark.usefixtures("works")
def test_headers_over_the_limit_are_an_error(small) -> None:
    with small.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 100_000)
        assert connection.recv(100).split()[1] == b"400"


@pytest.mark.usefixtures("works")
@pytest.mark.parametrize(("codec", "kind"), [("flac", "flac"), ("libopus", "ogg")])
def test_compressed_hours_are_refused_within_bounded_memory(small, codec, kind) -> None:
    """As CVE-2026-54233: little to upload, gigabytes to decode."""
    bomb = encode(np.zeros(48_000 * 3600, np.int16), codec, kind)
    assert len(bomb) < MAX_BYTES
    before = small.resident_bytes()
    begin = time.monotonic()
    status, _, answer = post(small, form_bytes(bomb, language="eng"))
    assert (status, answer["error"]["code"]) == (400, "invalid_audio")
    assert "limit" in answer["error"]["message"]
    assert small.resident_bytes(peak=True) - before < 200 << 20
    assert time.monotonic() - begin < 30


@pytest.mark.usefixtures("works")
def test_compressed_body_is_not_decompressed(small) -> None:
    body = zlib.compress(form_bytes(b"\0" * (64 << 20)))
    head = request_head(len(body), "/v1/audio/transcriptions", "Content-Encoding: deflate")
    with small.connect() as connection:
        connection.sendall(head + body)
        assert read_answer(connection)[0] == 400


@pytest.mark.usefixtures("works")
def test_uploads_together_are_bounded(demo_bundle) -> None:
    with running("--bundle", demo_bundle, "--max-uploads-bytes", 1 << 20) as server:
        with server.connect() as held, server.connect() as other:
            held.sendall(request_head(900_000) + PART)
            server.wait_metric("mms_upload_bytes", 700_000)
            other.sendall(request_head(900_000) + PART)
            status, headers, answer = read_answer(other)
        assert (status, answer["error"]["code"]) == (503, "overloaded")
        assert int(headers["retry-after"]) >= 1
        server.wait_metric("mms_upload_bytes", 0)


@pytest.mark.usefixtures("works")
def test_connections_are_bounded(small) -> None:
    opened = [small.connect() for _ in range(30)]
    try:
        with small.connect() as one_more:
            status, headers, answer = read_answer(one_more)
        assert (status, answer["error"]["code"]) == (503, "overloaded")
        assert headers["retry-after"] == "1"
    finally:
        for connection in opened:
            connection.close()


def test_overload_is_refused_at_once_and_harms_nobody(demo_bundle, recognizer, clip) -> None:
    wanted = recognizer.transcribe(clip.path, "eng").text
    body = form_bytes(clip.path.read_bytes(), language="eng")
    options = ("--max-requests", 4, "--max-client-requests", 4)
    with running("--bundle", demo_bundle, *options) as server:
        long = form_bytes(_wav(sound(120)), language="eng")
        with ThreadPoolExecutor(20) as threads:
            works = [threads.submit(post, server, long) for _ in range(2)]
            server.wait_metric("mms_jobs_waiting", 2)  # the device is busy from here
            accepted = [threads.submit(post, server, body) for _ in range(2)]
            server.wait_metric("mms_requests_running", 4)
            times = []
            for _ in range(40):
                begin = time.monotonic()
                status, headers, answer = post(server, body)
                if status == 200:  # an accepted one has ended
                    break
                times.append(time.monotonic() - begin)
                assert (status, answer["error"]["code"]) == (429, "overloaded")
                assert int(headers["retry-after"]) >= 1
            assert times
            assert float(np.median(times)) < 0.05
            assert [work.result()[2]["text"] for work in accepted] == [wanted] * 2
            assert [work.result()[0] for work in works] == [200, 200]


def _wav(samples: np.ndarray) -> bytes:
    import wave

    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return content.getvalue()


def test_long_wait_is_refused(demo_bundle, clip) -> None:
    options = ("--bundle", demo_bundle, "--max-wait-seconds", 0.2)
    with running(*options) as server, ThreadPoolExecutor(2) as threads:
        work = threads.submit(post, server, form_bytes(_wav(sound(120)), language="eng"))
        server.wait_metric("mms_jobs_waiting", 1)
        status, headers, answer = post(server, form_bytes(b"x", language="eng"))
        assert (status, answer["error"]["code"]) == (429, "overloaded")
        assert "wait" in answer["error"]["message"]
        assert 1 <= int(headers["retry-after"]) <= 30
        assert work.result()[0] == 200


def test_client_that_leaves_ends_its_work(demo_bundle) -> None:
    with running("--bundle", demo_bundle) as server:
        body = form_bytes(_wav(sound(240)), language="eng")
        with server.connect() as connection:
            connection.sendall(request_head(len(body)) + body)
            server.wait_metric("mms_jobs_waiting", 1)
        server.wait_metric("mms_jobs_waiting", 0, 60)
        server.wait_metric("mms_requests_running", 0)
        assert server.metric("mms_batcher_cancelled_total") == 1
        server.wait_log(" 499 ")


def test_event_loop_answers_while_everything_is_busy(demo_bundle) -> None:
    with running("--bundle", demo_bundle) as server:
        body = form_bytes(_wav(sound(60)), language="eng")
        with ThreadPoolExecutor(8) as threads:
            works = [threads.submit(post, server, body) for _ in range(4)]
            server.wait_metric("mms_jobs_waiting", 4)
            times = []
            while len(times) < 20 and not all(work.done() for work in works):
                begin = time.monotonic()
                assert server.get("/health/live")[0] == 200
                times.append(time.monotonic() - begin)
            assert float(np.median(times)) < 0.05
            assert [work.result()[0] for work in works] == [200] * 4


def test_web_pages_of_other_origins_cause_no_work(small, clip) -> None:
    body = form_bytes(clip.path.read_bytes(), language="eng")
    for origin in ("https://evil.example", "null", "http://test.evil"):
        assert post(small, body, None, f"Origin: {origin}")[0] == 403
    # The name "test" in the header Host may have been made to lead to this machine.
    assert post(small, body, None, "Origin: http://test")[0] == 403
    own = request_head(len(body), *_path(), "Origin: http://localhost:8000")
    with small.connect() as connection:
        connection.sendall(own.replace(b"Host: test", b"Host: localhost:8000") + body)
        assert read_answer(connection)[0] == 200


def test_request_that_is_no_http_is_an_error(small) -> None:
    for content in (b"\x16\x03\x01\x00\xa5", b"GET /\r\n\r\n", b"\r\n\r\n\r\n\r\nX"):
        with small.connect() as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100).startswith(b"HTTP/1.1 4") or not connection.recv(1)
