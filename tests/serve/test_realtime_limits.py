"""Malformed, refused and overloading realtime clients of a real server, keys and secrets."""

import base64
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import openai
import pytest
from websockets.exceptions import ConnectionClosed

from mms_engine.serve.auth import new_key
from realtime_client import (
    COMPLETED,
    DELTA,
    MANUAL,
    PATH,
    Raw,
    pieces,
    refusal,
    samples_of,
)
from server_process import ServerProcess, running


def test_session_survives_malformed_messages(live, clip) -> None:
    audio = "input_audio_buffer.append"
    with Raw(live) as session:
        session.receive()
        session.socket.send(b"\0\0\0\0")
        for message in ("", "{", "[]", "null", '"text"', "[" * 10_000, '{"type":null}', "\ud7ff"):
            session.socket.send(message)
        session.send("response.create")
        session.send("session.update", session={"type": "realtime"})
        session.send("session.update", session={"audio": {"input": {"format": {"rate": 1e400}}}})
        session.send(audio)
        session.send(audio, audio="not base64!")
        session.send(audio, audio=["AAAA"], event_id="mine")
        errors = [session.receive()["error"] for _ in range(15)]
        assert {one["type"] for one in errors} == {"invalid_request_error"}
        assert errors[-1]["event_id"] == "mine"
        session.update(**MANUAL)
        session.append(samples_of(clip, 24_000).tobytes())
        session.send("input_audio_buffer.commit")
        assert session.until(COMPLETED)[-1]["transcript"]
    live.wait_metric("mms_upload_bytes", 0)


def test_largest_message(live) -> None:
    """15 MiB of audio are one event at OpenAI; what is larger ends the connection."""
    with Raw(live) as session:
        session.update(**MANUAL)
        session.append(bytes(15 << 20), 15 << 20)
        session.send("input_audio_buffer.commit")
        completed = session.until(COMPLETED)[-1]
        assert completed["usage"]["seconds"] == pytest.approx((15 << 20) / 48_000, abs=1e-3)
        with pytest.raises(ConnectionClosed):
            session.append(bytes(17 << 20), 17 << 20)
            session.receive()


def test_empty_commits(live) -> None:
    with Raw(live) as session:
        session.receive()
        session.update(audio={"input": {"transcription": {"language": "en"}}})
        for _ in range(5):
            session.send("input_audio_buffer.commit")
        session.update(**MANUAL)
        session.send("input_audio_buffer.commit", event_id="mine")
        error = session.receive()["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
        session.send("input_audio_buffer.clear")
        assert session.receive()["type"] == "input_audio_buffer.cleared"


def test_flood_of_commits(live) -> None:
    piece = base64.b64encode(bytes(960)).decode()
    with Raw(live) as session:
        session.update(**MANUAL)
        for _ in range(500):
            session.send("input_audio_buffer.append", audio=piece)
            session.send("input_audio_buffer.commit")
        done = [session.until(COMPLETED)[-1]["item_id"] for _ in range(500)]
    assert len(set(done)) == 500


def test_client_that_leaves_frees_its_stream(live, clip) -> None:
    content = samples_of(clip, 24_000).tobytes()
    for _ in range(3):
        with Raw(live) as session:
            session.update(**MANUAL)
            session.append(content)
            session.socket.socket.close()
    live.wait_metric("mms_streams", 0)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/realtime", 400, "unsupported_value"),
        ("/v1/realtime?model=gpt-realtime", 400, "unsupported_value"),
        (f"{PATH}&model=gpt-9", 404, "model_not_found"),
        ("/v1/realtime/translations", 404, "not_found"),
        ("/v1/realtime/calls", 404, "not_found"),
    ],
)
def test_refused_handshakes(live, path, status, code) -> None:
    found, error = refusal(live, path)
    assert (found, error["code"]) == (status, code)


def post(server: ServerProcess, path: str, body: Any, key: str = "") -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, content)  # noqa: S310
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize("path", ["translations", "translations/client_secrets", "calls", "x/y"])
def test_routes_that_are_not_served(live, path) -> None:
    status, answer = post(live, f"/v1/realtime/{path}", {})
    assert (status, answer["error"]["code"]) == (404, "not_found")


def test_plain_request(live) -> None:
    status, answer = live.get(PATH)
    assert (status, json.loads(answer)["error"]["code"]) == (426, "upgrade_required")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[" * 100_000, None),
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "now"}}, "expires_after.anchor"),
        ({"session": {"type": "realtime"}}, "session.type"),
        (
            {"session": {"audio": {"input": {"format": {"rate": 1}}}}},
            "session.audio.input.format.rate",
        ),
    ],
)
def test_secrets_that_cannot_be_minted(live, body, param) -> None:
    status, answer = post(live, "/v1/realtime/client_secrets", body)
    assert (status, answer["error"]["param"]) == (400, param)


@pytest.fixture(scope="module")
def keyed(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory):
    """A server with keys, the key that may transcribe, and one that may not."""
    good, line = new_key("good", ("transcribe",))
    bad, other = new_key("bad", ("align",))
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(f"{line}\n{other}\n")
    with running("--bundle", demo_bundle, "--keys", keys) as server:
        yield server, good, bad


@pytest.fixture(scope="module")
def small(demo_bundle: Path) -> Iterator[ServerProcess]:
    """A server with small limits, and without identification."""
    options = ("--max-client-streams", 1, "--stream-idle-seconds", 2)
    with running("--bundle", demo_bundle, *options) as server:
        yield server


def bearer(key: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {key}"}}


def test_keys_and_secrets(keyed, clip) -> None:
    server, good, bad = keyed
    assert refusal(server)[0] == 401
    assert refusal(server, **bearer("ek_none"))[1]["code"] == "invalid_client_secret"
    assert refusal(server, **bearer(bad))[0] == 403
    assert post(server, "/v1/realtime/client_secrets", {}, bad)[0] == 403
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=good, max_retries=0) as client:
        secret = client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": {"language": "en"}, "turn_detection": None}},
            },
        )
    assert secret.value.startswith("ek_")
    assert 0 < secret.expires_at - time.time() <= 60
    assert secret.session.type == "transcription"
    assert secret.session.audio.input.transcription.language == "en"
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=secret.value, max_retries=0) as client:
        with client.realtime.connect() as connection:
            session = connection.recv().session
            assert session.audio.input.turn_detection is None
            for piece in pieces(samples_of(clip, 24_000).tobytes()):
                connection.input_audio_buffer.append(audio=piece)
            connection.input_audio_buffer.commit()
            text = next(one.transcript for one in connection if one.type == COMPLETED)
        assert "party" in text
        with pytest.raises(openai.AuthenticationError):
            client.audio.transcriptions.create(file=clip.path, model="whisper-1")


def test_browsers_send_the_key_in_a_subprotocol(keyed) -> None:
    server, good, _ = keyed
    names = ["realtime", f"openai-insecure-api-key.{good}"]
    with Raw(server, subprotocols=names) as session:
        assert session.socket.subprotocol == "realtime"
        assert session.receive()["type"] == "session.created"


def test_web_pages_are_told_of_a_refusal(keyed) -> None:
    """They cannot see the answer to the handshake."""
    server, _, _ = keyed
    names = ["realtime", "openai-insecure-api-key.ek_expired"]
    origin = f"http://127.0.0.1:{server.port}"
    with Raw(server, subprotocols=names, origin=origin) as session:
        assert session.receive()["error"]["code"] == "invalid_client_secret"
        assert _closed(session) == 1008
    assert refusal(server, subprotocols=names, origin="http://example.org")[0] == 403


def test_too_many_streams(small) -> None:
    with Raw(small) as first, Raw(small) as second:
        for session in (first, second):
            session.update(**MANUAL)
        first.append(bytes(96_000))
        first.send("input_audio_buffer.commit")
        first.until(COMPLETED)
        second.append(bytes(4800))
        error = second.receive()["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert _closed(second) == 1013


def test_silent_client_gives_its_stream_back(small) -> None:
    with Raw(small) as session:
        session.update(**MANUAL)
        session.append(bytes(48_000))
        small.wait_metric("mms_streams", 1)
        small.wait_metric("mms_streams", 0)  # the connection stays
        session.send("input_audio_buffer.commit")
        assert session.until(COMPLETED)[-1]["usage"]["seconds"] == 1.0
        assert _closed(session) == 1000


def test_language_is_missing_without_identification(small, clip) -> None:
    with Raw(small) as session:
        session.receive()
        session.append(samples_of(clip, 24_000).tobytes())
        assert session.receive()["error"]["code"] == "missing_language"
        session.update(**MANUAL)
        session.append(samples_of(clip, 24_000).tobytes())
        session.send("input_audio_buffer.commit")
        assert session.until(COMPLETED)[-1]["transcript"]


def test_turns_end_before_the_server(demo_bundle, clip) -> None:
    """At SIGTERM a session without speech ends at once, one with speech after its turn."""
    content = samples_of(clip, 24_000, 0.0).tobytes()
    with running("--bundle", demo_bundle) as server:
        with Raw(server) as speaking, Raw(server) as quiet:
            for session in (speaking, quiet):
                session.update(audio={"input": {"transcription": {"language": "en"}}})
            speaking.append(content)
            speaking.until(DELTA)
            server.process.send_signal(signal.SIGTERM)
            assert _closed(quiet) == 1012
            server.wait_log("SOCKET /v1/realtime 101")
            speaking.append(bytes(96_000))
            assert "party" in speaking.until(COMPLETED)[-1]["transcript"]
            assert _closed(speaking) == 1012
        assert server.process.wait(10) == 0


def _closed(session: Raw) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        session.receive()
    return caught.value.rcvd.code


_VALUES = [None, True, -1, 0, 24_000, 1.5, "", "auto", "en", "日本", [], ["fr"], {}, {"type": "x"}]
_NAMES = [
    *("type", "audio", "input", "format", "rate", "transcription", "model", "language"),
    *("languages", "keywords", "prompt", "delay", "turn_detection", "threshold", "include"),
    *("silence_duration_ms", "idle_timeout_ms", "noise_reduction", "eagerness", "unknown"),
]


def _random_value(random: Random, depth: int) -> Any:
    if depth == 0 or random.random() < 0.3:
        return random.choice(_VALUES)
    names = random.sample(_NAMES, random.randint(0, 4))
    return {name: _random_value(random, depth - 1) for name in names}


def _random_message(random: Random) -> str | bytes:
    own = {"audio": {"input": _random_value(random, 3)}}
    audio = base64.b64encode(random.randbytes(random.choice([0, 1, 2, 999, 20_000]))).decode()
    messages: list[Any] = [
        {"type": "session.update", "session": own},
        {"type": "session.update", "session": _random_value(random, 5)},
        {"type": "session.update", "session": MANUAL if random.random() < 0.5 else {}},
        {"type": "input_audio_buffer.commit"},
        {"type": "input_audio_buffer.clear"},
        _random_value(random, 4),
        *[{"type": "input_audio_buffer.append", "audio": audio}] * 4,
    ]
    text = json.dumps(random.choice(messages))
    if random.random() < 0.05:
        return text[: random.randint(0, len(text))]
    return text.encode() if random.random() < 0.02 else text


@pytest.mark.parametrize("seed", range(4))
def test_random_messages(live, clip, seed) -> None:
    """Each message, whatever it is, is answered or taken, and the session works afterwards."""
    random = Random(seed)  # noqa: S311
    with Raw(live) as session:
        for _ in range(400):
            session.socket.send(_random_message(random))
        session.send("session.update", session={"audio": {"input": None}})
        session.send("session.update", session=MANUAL)
        session.send("input_audio_buffer.clear")
        session.send("session.update", session={}, event_id="last")
        session.append(samples_of(clip, 24_000).tobytes())
        session.send("input_audio_buffer.commit")
        events = [session.receive()]
        while "party" not in events[-1].get("transcript", ""):
            events.append(session.receive())
    errors = [one["error"] for one in events if one["type"] == "error"]
    assert errors
    assert "server_error" not in {one["type"] for one in errors}
    assert not any(one["type"].endswith(".failed") for one in events)
    live.wait_metric("mms_streams", 0)
