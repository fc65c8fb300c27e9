"""Limits on WebSocket connections, and clients that break the protocol."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from raw_sockets import closing_code, frame, raw_request, upgraded
from server_process import ServerProcess, read_answer, running

MAX_FRAME = 1 << 20


@pytest.fixture(scope="module")
def small(demo_bundle) -> Iterator[ServerProcess]:
    limits = ("--no-admission", "--max-frame-bytes", MAX_FRAME)
    with running("--bundle", demo_bundle, *limits) as started:
        yield started


@pytest.fixture(autouse=True)
def _whole(small: ServerProcess) -> Iterator[None]:
    """Check that nothing is left on the server after the test."""
    yield
    for name in ("mms_sockets", "mms_streams", "mms_upload_bytes"):
        small.wait_metric(name, 0)


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


def test_slow_handshake_ends(demo_bundle) -> None:
    with running("--bundle", demo_bundle, "--header-seconds", 1) as server, server.connect() as it:
        it.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
        assert read_answer(it)[0] == 408
