"""Speech over HTTP: OpenAI's own client and raw connections, against a server with voices only."""

import asyncio
import base64
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import openai
import pytest
import soxr

from exporting import export
from mms_engine import Synthesizer
from mms_engine.audio.samples import to_int16
from mms_engine.serve.auth import new_key
from server_process import ServerProcess, read_answer, running
from tiny_voices import TINY, make_voice

TEXT = "It rained. We walked home."
LONG = "The river was high after the rain, and the old bridge was closed. " * 60
RATE = 22_050
"""Samples per second of the demo voice."""


@pytest.fixture(scope="module")
def tiny_voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random voices, swh and fra."""
    folder = tmp_path_factory.mktemp("mms-tts")
    for seed, code in enumerate(("swh", "fra")):
        make_voice(folder / "voices" / code, code, seed=seed, **TINY)
    return export(folder / "voices", folder / "bundle")


@pytest.fixture(scope="module")
def speaking(demo_voice: Path, tiny_voices: Path) -> Iterator[ServerProcess]:
    options = ("--bundle", demo_voice, "--bundle", tiny_voices, "--alias", "karani=mms-tts-swh")
    with running(*options, "--threads", 1) as started:
        yield started


@pytest.fixture(scope="module")
def client(speaking: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{speaking.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def synthesizer(demo_voice: Path) -> Iterator[Synthesizer]:
    with Synthesizer.open(demo_voice, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def samples(synthesizer: Synthesizer) -> np.ndarray:
    """`TEXT` as the library speaks it."""
    return synthesizer.synthesize(TEXT, "eng").samples


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    """Return the samples of an audio file and their rate."""
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(stream)]
        return np.concatenate(frames), stream.rate


def ask(server: ServerProcess, body: object, key: str = "") -> socket.socket:
    """Return a connection on which a text was sent."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        "POST /v1/audio/speech HTTP/1.1",
        "Host: test",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        f"Authorization: Bearer {key}",
    ]
    connection = server.connect()
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
    return connection


def events(content: bytes) -> list[dict]:
    return [json.loads(line.removeprefix(b"data: ")) for line in content.split(b"\n\n") if line]


@pytest.mark.parametrize(
    ("name", "media", "tail"),
    [
        ("mp3", "audio/mpeg", 0.15),
        ("opus", "audio/ogg", 0.001),
        ("aac", "audio/aac", 0.15),
        ("flac", "audio/flac", 0),
        ("wav", "audio/wav", 0),
    ],
)
def test_formats(client, samples, name, media, tail) -> None:
    """Codecs without a length in the stream may end with up to `tail` seconds of padding."""
    found = client.audio.speech.create(
        input=TEXT, model="tts-1", voice="alloy", response_format=name
    )
    assert found.response.headers["Content-Type"] == media
    audio, rate = decoded(found.content)
    assert 0 <= audio.size / rate - samples.size / RATE <= tail
    if not tail:
        assert rate == RATE
        np.testing.assert_array_equal(audio, to_int16(samples))


def test_default_format_is_mp3(client) -> None:
    found = client.audio.speech.create(input="Home.", model="tts-1", voice="alloy")
    assert found.response.headers["Content-Type"] == "audio/mpeg"
    assert found.response.headers["X-MMS-Voice"] == "eng"
    assert "X-MMS-Dropped" not in found.response.headers


def test_pcm_has_24_khz(client, samples) -> None:
    found = client.audio.speech.create(
        input=TEXT, model="tts-1", voice="alloy", response_format="pcm"
    )
    assert found.response.headers["Content-Type"] == "audio/pcm"
    wanted = to_int16(soxr.resample(samples, RATE, 24_000, quality="HQ"))
    np.testing.assert_array_equal(np.frombuffer(found.content, "<i2"), wanted)


def test_header_of_wav_has_no_length(client) -> None:
    content = client.audio.speech.create(
        input="Home.", model="tts-1", voice="alloy", response_format="wav"
    ).content
    assert content[:8] == b"RIFF\xff\xff\xff\xff"
    data = content.index(b"data")
    assert content[data + 4 : data + 8] == b"\xff\xff\xff\xff"


def test_events_join_to_the_audio(client, samples) -> None:
    found = client.audio.speech.create(
        input=TEXT, model="tts-1", voice="alloy", response_format="wav", stream_format="sse"
    )
    assert found.response.headers["Content-Type"].startswith("text/event-stream")
    *deltas, done = events(found.content)
    assert {one["type"] for one in deltas} == {"speech.audio.delta"}
    audio, _ = decoded(b"".join(base64.b64decode(one["audio"]) for one in deltas))
    np.testing.assert_array_equal(audio, to_int16(samples))
    made = round(1000 * samples.size / RATE)
    usage = {"input_tokens": len(TEXT), "output_tokens": made, "total_tokens": len(TEXT) + made}
    assert done == {"type": "speech.audio.done", "usage": usage}


def test_async_client_streams(speaking, samples) -> None:
    async def run() -> list[bytes]:
        async with openai.AsyncOpenAI(base_url=f"{speaking.url}/v1", api_key="none") as client:

            async def speak() -> bytes:
                async with client.audio.speech.with_streaming_response.create(
                    input=TEXT, model="gpt-4o-mini-tts", voice="nova", response_format="flac"
                ) as response:
                    return b"".join([part async for part in response.iter_bytes()])

            return await asyncio.gather(*(speak() for _ in range(3)))

    for content in asyncio.run(run()):
        np.testing.assert_array_equal(decoded(content)[0], to_int16(samples))


@pytest.mark.parametrize(
    ("model", "voice", "spoken"),
    [
        ("tts-1", "alloy", "eng"),
        ("tts-1-hd", "Shimmer", "eng"),
        ("gpt-4o-mini-tts-2025-12-15", {"id": "marin"}, "eng"),
        ("demo-voice", "en-GB", "eng"),
        ("demo-voice", {"id": "English"}, "eng"),
        ("tts-1", "sw", "swh"),
        ("mms-tts-swh", "alloy", "swh"),
        ("facebook/mms-tts-fra", "alloy", "fra"),
        ("mms-tts-swh", "french", "fra"),
        ("karani", "alloy", "swh"),
        ("voices", "alloy", "fra"),
    ],
)
def test_voices_have_many_names(client, model, voice, spoken) -> None:
    found = client.audio.speech.create(
        input="Home.", model=model, voice=voice, instructions="Whisper.", response_format="wav"
    )
    assert found.response.headers["X-MMS-Voice"] == spoken


def test_fields_that_are_null_or_missing_have_their_defaults(speaking, client) -> None:
    body = {"input": "Home.", "voice": None, "speed": None, "response_format": None, "model": None}
    received = b""
    for one in (body, {"input": "Home."}):
        with ask(speaking, one) as connection:
            while b"audio/mpeg" not in received:
                part = connection.recv(65536)
                assert part, received
                received += part
        assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("speed", [0.25, 0.6, 1.7, 4.0])
def test_speed_is_the_ratio_of_the_lengths(client, samples, speed) -> None:
    found = client.audio.speech.create(
        input=TEXT, model="tts-1", voice="alloy", response_format="wav", speed=speed
    )
    assert decoded(found.content)[0].size / samples.size == pytest.approx(1 / speed, rel=0.03)


def test_dropped_characters_are_reported(client) -> None:
    text = "Home Ѣ, № жук. " + "Ѣ " * 40
    found = client.audio.speech.create(
        input=text, model="tts-1", voice="alloy", response_format="wav"
    )
    dropped = json.loads(found.response.headers["X-MMS-Dropped"])
    assert dropped["count"] >= 44
    assert dropped["first"][0] == {"text": "Ѣ", "start": 5, "kind": "letter"}
    assert len(dropped["first"]) == 20
    content = client.audio.speech.create(
        input=text, model="tts-1", voice="alloy", stream_format="sse"
    ).content
    assert events(content)[-1]["dropped"] == dropped


@pytest.mark.parametrize(
    ("changes", "error", "param", "code"),
    [
        ({"input": "жук"}, openai.BadRequestError, "input", "invalid_text"),
        ({"input": " "}, openai.BadRequestError, "input", "invalid_text"),
        ({"input": "a\x00"}, openai.BadRequestError, "input", "invalid_text"),
        ({"input": "a" * 4097}, openai.BadRequestError, "input", "text_too_long"),
        ({"input": 7}, openai.BadRequestError, "input", "invalid_value"),
        ({"voice": "xyz"}, openai.BadRequestError, "voice", "unsupported_language"),
        ({"voice": "e" * 101}, openai.BadRequestError, "voice", "invalid_value"),
        ({"model": "demo-voice", "voice": "swh"}, openai.BadRequestError, "voice", None),
        ({"model": "mms-tts-xyz"}, openai.BadRequestError, "model", "unsupported_language"),
        ({"model": "whisper-1"}, openai.NotFoundError, "model", "model_not_found"),
        ({"speed": 4.1}, openai.BadRequestError, "speed", "invalid_value"),
        ({"speed": "fast"}, openai.BadRequestError, "speed", "invalid_value"),
        ({"response_format": "ogg"}, openai.BadRequestError, "response_format", "invalid_value"),
        ({"stream_format": "ws"}, openai.BadRequestError, "stream_format", "invalid_value"),
    ],
)
def test_errors_are_in_the_envelope(client, changes, error, param, code) -> None:
    with pytest.raises(error) as raised:
        client.audio.speech.create(
            **{"input": "Home.", "model": "tts-1", "voice": "alloy", **changes}
        )
    assert raised.value.param == param
    assert raised.value.code == (code or "unsupported_language")


def test_nearest_voice_is_named(client) -> None:
    with pytest.raises(openai.BadRequestError, match=r"did you mean.*swh"):
        client.audio.speech.create(input="a", model="tts-1", voice="swhh")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_value"),
        (b'{"voice": "eng"}', 400, "invalid_value"),
        (b'{"input": "\\ud800"}', 400, "invalid_json"),
        (b'{"input": "\xff"}', 400, "invalid_json"),
        (b'{"input": "a", "x": ' + b"[" * 100_000, 400, "invalid_json"),
        (b'{"input": "' + b"a" * 200_000 + b'"}', 413, "request_too_large"),
    ],
)
def test_bodies_that_cannot_be_read(speaking, body, status, code) -> None:
    with ask(speaking, body) as connection:
        found, _, answer = read_answer(connection)
    assert (found, answer["error"]["code"]) == (status, code)


def test_other_tasks_are_named_as_missing(speaking) -> None:
    for path in ("/v1/languages", "/v2/models/demo"):
        status, text = speaking.get(path)
        assert (status, json.loads(text)["error"]["code"]) == (404, "task_not_available")


def test_voices_and_models_are_listed(speaking) -> None:
    found = json.loads(speaking.get("/v1/voices")[1])
    assert (found["model"], found["default"], found["total"]) == ("demo-voice", "eng", 1)
    assert found["data"][0]["name"] == "English"
    assert found["data"][0]["id"] == "eng"
    found = json.loads(speaking.get("/v1/voices?model=voices&query=swahili")[1])
    assert [one["code"] for one in found["data"]] == ["swh"]
    page = json.loads(speaking.get("/v1/voices?model=karani&limit=1&offset=1")[1])
    assert ([one["code"] for one in page["data"]], page["total"]) == (["swh"], 2)
    assert page["default"] == "swh"
    names = {one["id"]: one["root"] for one in json.loads(speaking.get("/v1/models")[1])["data"]}
    assert names["tts-1"] == "demo-voice"
    assert names["karani"] == "voices"
    assert "whisper-1" not in names


def test_first_bytes_come_before_the_rest_is_made(speaking, client) -> None:
    before = speaking.metric("mms_speech_seconds")
    with client.audio.speech.with_streaming_response.create(
        input=LONG, model="tts-1", voice="alloy", response_format="wav"
    ) as response:
        assert next(response.iter_bytes(1024))
        made = speaking.metric("mms_speech_seconds") - before
    assert 0 < made < 60  # of more than 200


def test_client_that_leaves_ends_the_work(speaking) -> None:
    before = speaking.metric("mms_speech_seconds")
    with ask(speaking, {"input": LONG, "response_format": "wav"}) as connection:
        assert connection.recv(4096)
    speaking.wait_metric("mms_requests_running", 0)
    assert speaking.metric("mms_speech_waiting") == 0
    assert speaking.metric("mms_speech_seconds") - before < 60


def test_slow_reader_stops_the_work_and_holds_no_thread(speaking, client) -> None:
    body = {"input": LONG, "voice": "swh", "speed": 0.25, "response_format": "pcm"}
    with ask(speaking, {**body, "stream_format": "sse"}) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        assert connection.recv(1024)
        begin, made, others = speaking.metric("mms_speech_seconds"), 1.0, 0.0
        while made > 1e-6:  # until all buffers are full
            before = speaking.metric("mms_speech_seconds")
            found = client.audio.speech.create(
                input=TEXT, model="mms-tts-swh", voice="alloy", response_format="flac"
            )
            audio, rate = decoded(found.content)
            others += audio.size / rate
            made = speaking.metric("mms_speech_seconds") - before - audio.size / rate
        assert speaking.metric("mms_speech_seconds") - begin - others < 110  # of 135
        speaking.wait_metric("mms_requests_running", 1)


def test_audio_is_counted_and_logged(speaking, client, samples) -> None:
    speaking.wait_metric("mms_requests_running", 0)  # those whose clients have left are counted too
    before = speaking.metric("mms_audio_seconds_total")
    client.audio.speech.create(input=TEXT, model="tts-1", voice="alloy")
    seconds = samples.size / RATE
    assert speaking.metric("mms_audio_seconds_total") - before == pytest.approx(seconds)
    speaking.wait_log(f"audio={seconds:.1f}s")
    assert TEXT not in speaking.log


def test_long_texts_of_a_client_do_not_keep_out_another(demo_voice, tmp_path) -> None:
    secrets, lines = zip(*(new_key(name, ("speak", "metrics")) for name in "ab"), strict=True)
    (tmp_path / "keys").write_text("\n".join(lines))
    with running("--bundle", demo_voice, "--threads", 1, "--keys", tmp_path / "keys") as server:
        busy = [ask(server, {"input": LONG}, secrets[0]) for _ in range(8)]
        for one in busy:
            assert one.recv(1)
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=secrets[1], max_retries=0)
        assert client.audio.speech.create(input="Home.", model="tts-1", voice="alloy").content
        _, metrics = server.get("/metrics", secrets[1])
        assert "\nmms_requests_running 8.0\n" in metrics
        for one in busy:
            one.close()


def test_key_without_the_scope_is_refused(demo_voice, tmp_path) -> None:
    secret, line = new_key("a", ("transcribe",))
    (tmp_path / "keys").write_text(line)
    with running("--bundle", demo_voice, "--keys", tmp_path / "keys") as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=secret, max_retries=0)
        with pytest.raises(openai.PermissionDeniedError) as raised:
            client.audio.speech.create(input="a", model="tts-1", voice="alloy")
        assert raised.value.code == "insufficient_scope"


def test_deadline_ends_a_stream_with_an_error(demo_voice) -> None:
    options = ("--threads", 1, "--request-seconds", 1.5, "--max-characters", 10_000)
    with running("--bundle", demo_voice, *options) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        request = {"input": LONG * 2, "model": "tts-1", "voice": "alloy"}
        with pytest.raises(openai.APIConnectionError):
            client.audio.speech.create(**request, response_format="wav")
        content = client.audio.speech.create(**request, stream_format="sse").content
        assert events(content)[0]["type"] == "speech.audio.delta"
        assert events(content)[-1]["error"]["code"] == "deadline_exceeded"
