"""Sessions of `/v1/stream`: resumed in memory and from a folder, by their owner alone."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from engine_demo import Clip
from mms_engine import Recognizer, StreamOptions, read_audio
from mms_engine.asr.streaming import Final
from mms_engine.serve.auth import new_key
from mms_engine.serve.sessions.store import SessionStore
from server_process import ServerProcess, running
from sounds import encode

FINISH = '{"type": "finish"}'


@pytest.fixture(scope="module")
def brief(demo_bundle) -> Iterator[ServerProcess]:
    """A server that keeps sessions for two seconds."""
    with running("--bundle", demo_bundle, "--no-admission", "--session-seconds", 2) as started:
        yield started


@pytest.fixture(scope="module")
def pcm(clip: Clip) -> bytes:
    return (read_audio(clip.path).samples * 32767).astype("<i2").tobytes()


def open_stream(server: ServerProcess, query: str, key: str = "") -> ClientConnection:
    url = f"ws://127.0.0.1:{server.port}/v1/stream?{query}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return connect(url, compression=None, proxy=None, additional_headers=headers)


def session_of(connection: ClientConnection) -> dict:
    return json.loads(connection.recv(60))


def rest_of(connection: ClientConnection) -> list[dict]:
    found = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            found.append(json.loads(connection.recv(60)))
    return found


def break_off(connection: ClientConnection) -> None:
    """Close the socket without the frames that end a connection."""
    connection.socket.shutdown(2)
    connection.socket.close()


def refused(server: ServerProcess, query: str, key: str = "") -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as raised:
        open_stream(server, query, key)
    response = raised.value.response
    return response.status_code, json.loads(response.body)["error"]["code"]


def finals(events: list[dict]) -> list[str]:
    return [one["text"] for one in events if one["type"] == "final"]


def test_client_goes_on_where_it_broke_off(brief, pcm, recognizer: Recognizer) -> None:
    first = open_stream(brief, "language=eng&resume=new")
    session = session_of(first)
    assert "resumed" not in session
    first.send(pcm)
    first.send('{"type": "flush"}')
    seen = []
    while not seen or seen[-1]["type"] != "endpoint":
        seen.append(json.loads(first.recv(60)))
    first.send(pcm[:1001])
    break_off(first)
    with open_stream(brief, f"resume={session['id']}&after=1") as second:
        resumed = session_of(second)
        sent = resumed["audio_bytes"] - len(pcm)
        assert sent in (0, 1001)
        assert resumed == session | {
            "resumed": True,
            "audio_seconds": resumed["audio_seconds"],
            "audio_bytes": resumed["audio_bytes"],
        }
        second.send(pcm[sent:])
        second.send(FINISH)
        events = rest_of(second)
    assert brief.metric("mms_sessions_kept") > 0
    brief.wait_metric("mms_sessions_kept", 0)  # its time is over
    assert events[0] == seen[-1]  # the event that the client had not counted
    stream = recognizer.stream("eng", StreamOptions(sample_format="s16le"))
    wanted = [*stream.feed(pcm), *stream.flush(), *stream.feed(pcm), *stream.finish()]
    assert finals(seen) + finals(events) == [
        one.transcript.text for one in wanted if isinstance(one, Final)
    ]


def test_last_events_can_be_fetched_again(brief, pcm) -> None:
    first = open_stream(brief, "language=eng&resume=new")
    session = session_of(first)
    first.send(pcm)
    first.send(FINISH)
    events = rest_of(first)
    brief.wait_metric("mms_streams", 0)
    with open_stream(brief, f"resume={session['id']}") as second:
        assert session_of(second)["audio_bytes"] == len(pcm)
        assert rest_of(second) == [one for one in events if one["type"] != "partial"]


def test_session_that_nobody_resumes_ends(brief, pcm) -> None:
    first = open_stream(brief, "language=eng&resume=new")
    session = session_of(first)
    first.send(pcm)
    break_off(first)
    brief.wait_metric("mms_sockets", 0)
    assert brief.metric("mms_streams") == 1
    brief.wait_metric("mms_streams", 0)
    assert refused(brief, f"resume={session['id']}") == (404, "session_not_found")


@pytest.mark.parametrize(
    ("query", "end"),
    [
        ("language=eng&resume=new", ClientConnection.close),
        ("language=eng", ClientConnection.close),
        ("language=eng", break_off),
    ],
)
def test_client_that_closes_or_did_not_ask_cannot_resume(brief, query, end) -> None:
    connection = open_stream(brief, query)
    session = session_of(connection)
    end(connection)
    brief.wait_metric("mms_sockets", 0)
    assert refused(brief, f"resume={session['id']}") == (404, "session_not_found")
    brief.wait_metric("mms_streams", 0)


def test_new_connection_takes_over_from_one_that_looks_alive(brief, pcm) -> None:
    first = open_stream(brief, "language=eng&resume=new")
    session = session_of(first)
    first.send(pcm)
    with open_stream(brief, f"resume={session['id']}") as second:
        start = session_of(second)["audio_bytes"]
        assert rest_of(first)[-1:] == [] or rest_of(first) == []
        assert first.close_code == 1008
        second.send(pcm[start:])
        second.send(FINISH)
        assert finals(rest_of(second))


@pytest.mark.parametrize(
    "identity", ["x", "0" * 32, "../" + "0" * 29, "%00" * 32, "0" * 33, "NEW", "é"]
)
def test_id_that_is_none_is_refused(brief, identity) -> None:
    assert refused(brief, f"resume={identity}") == (404, "session_not_found")


def test_session_is_its_owners_alone(demo_bundle, pcm, tmp_path) -> None:
    secrets, lines = [], []
    for name in ("one", "two"):
        secret, line = new_key(name, ("transcribe",))
        secrets.append(secret)
        lines.append(line)
    file, store = tmp_path / "keys", tmp_path / "store"
    file.write_text("\n".join(lines))
    store.mkdir()
    options = ("--bundle", demo_bundle, "--no-admission", "--keys", file, "--session-store", store)
    with _ready(*options) as server, _ready(*options) as other:
        first = open_stream(server, "language=eng&resume=new", secrets[0])
        session = session_of(first)
        first.send(pcm)
        while not list(store.iterdir()):
            time.sleep(0.05)
        break_off(first)
        query = f"resume={session['id']}"
        assert refused(server, query, secrets[1]) == (404, "session_not_found")
        assert refused(other, query, secrets[1]) == (404, "session_not_found")
        assert [one.name for one in store.iterdir()] == [f"{session['id']}-0"]
        assert (next(store.iterdir()).stat().st_mode & 0o077) == 0
        with open_stream(other, query, secrets[0]) as second:
            start = session_of(second)["audio_bytes"]
            second.send(pcm[start:])
            second.send(FINISH)
            assert finals(rest_of(second))


@contextlib.contextmanager
def _ready(*options: object) -> Iterator[ServerProcess]:
    server = ServerProcess(*options)
    try:
        while server.get("/health/ready")[0] != 200:
            time.sleep(0.02)
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("content", [b"", b"\x81\xa6format\x01", None])
def test_damaged_state_is_refused(demo_bundle, tmp_path, content) -> None:
    identity = "0123456789abcdef" * 2
    path = tmp_path / f"{identity}-0"
    if content is None:  # of this format, with a state that is none
        own = {"type": "stream", "model": "demo", "language": "eng", "position": 5, "settled": 0}
        state = msgspec.msgpack.encode(own | {"log": [], "state": b"x"})
        content = msgspec.msgpack.encode({"format": 2, "owner": "", "content": state})
    path.write_bytes(content)
    with running("--bundle", demo_bundle, "--no-admission", "--session-store", tmp_path) as server:
        status, code = refused(server, f"resume={identity}")
        assert (status, code) in ((404, "session_not_found"), (400, "stream_failed"))
        assert list(tmp_path.iterdir()) == []
        assert server.metric("mms_streams") == 0


def test_store_gives_a_session_to_one_and_forgets_old_ones(tmp_path: Path) -> None:
    store, other = SessionStore(tmp_path), SessionStore(tmp_path)
    identity, old = "a" * 32, "b" * 32
    store.write(identity, 0, b"zero")
    store.write(identity, 1, b"one")
    store.write(old, 0, b"old")
    os.utime(tmp_path / f"{old}-0", (1, 1))
    (tmp_path / "else").write_bytes(b"of the user")
    assert other.take(identity, 60) == (1, b"one")
    assert other.take(old, 60) is None
    store.delete(identity, 1)
    assert [one.name for one in sorted(tmp_path.iterdir())] == [f"{identity}-0", "else"]


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "webm"])
def test_container_is_decoded_as_it_arrives(brief, clip, pcm, kind, tmp_path) -> None:
    samples = read_audio(clip.path).samples
    content = _encoded(samples, kind, tmp_path)
    with open_stream(brief, "language=eng&format=container") as connection:
        session_of(connection)
        for start in range(0, len(content), 700):
            connection.send(content[start : start + 700])
        connection.send(FINISH)
        *events, end = rest_of(connection)
    assert finals(events)
    assert end["audio_seconds"] == pytest.approx(2.8, abs=0.1)


def _encoded(samples: np.ndarray, kind: str, folder: Path) -> bytes:
    path = folder / f"a.{kind}"
    if kind == "webm":
        encode(path, "libopus", np.repeat(samples, 3), 48_000, container="webm")
    else:
        soundfile.write(path, samples, 16_000)
    return path.read_bytes()


def test_container_that_cannot_be_decoded_is_an_error(brief) -> None:
    with open_stream(brief, "language=eng&format=container") as connection:
        session_of(connection)
        connection.send(os.urandom(100_000))
        connection.send(FINISH)
        *_, error = rest_of(connection)
    assert error["error"]["code"] == "invalid_audio"
    for query in ("format=container&resume=new", "format=container&sample_rate=8000"):
        assert refused(brief, f"language=eng&{query}") == (400, "invalid_value")


def test_container_that_breaks_off_leaves_no_thread(brief, clip) -> None:
    content = clip.path.read_bytes()
    for _ in range(70):  # more than there are threads
        connection = open_stream(brief, "language=eng&format=container")
        connection.send(content[:5000])
        break_off(connection)
        brief.wait_metric("mms_sockets", 0)
    brief.wait_metric("mms_streams", 0)
