"""OpenAI's own client, unmodified, against a real server."""

import asyncio
import io
import math
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest

from engine_demo import Clip
from mms_engine import Recognizer, read_audio
from server_process import ServerProcess, request_head, running


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def text(recognizer: Recognizer, clip: Clip) -> str:
    """The text of the clip as the library transcribes it."""
    return recognizer.transcribe(clip.path, "eng").text


@pytest.mark.parametrize(
    ("model", "language"),
    [
        ("whisper-1", "en"),
        ("gpt-4o-mini-transcribe-2025-12-15", "eng"),
        ("demo", "en-US"),
        ("gpt-live-transcribe", "English"),
    ],
)
def test_text_is_that_of_the_library(client, clip, text, model, language) -> None:
    with clip.path.open("rb") as file:
        found = client.audio.transcriptions.create(file=file, model=model, language=language)
    assert found.text == text
    assert found.usage.type == "duration"
    assert found.usage.seconds == pytest.approx(2.8, abs=0.01)


def test_every_clip_in_every_language(client, clips, recognizer) -> None:
    for one in clips:
        found = client.audio.transcriptions.create(
            file=one.path, model="whisper-1", language=one.language
        )
        assert found.text == recognizer.transcribe(one.path, one.language).text


def test_text_and_subtitles(client, clip, recognizer, text) -> None:
    words = recognizer.transcribe(clip.path, "eng").words
    start, end = (f"00:00:0{seconds:.3f}" for seconds in (words[0].start, words[-1].end))

    def create(kind: str) -> str:
        return client.audio.transcriptions.create(
            file=clip.path, model="whisper-1", language="en", response_format=kind
        )

    assert create("text") == text + "\n"
    assert create("srt") == f"1\n{start} --> {end}\n{text}\n".replace(".", ",")
    assert create("vtt") == f"WEBVTT\n\n1\n{start} --> {end}\n{text}\n"


def test_verbose_json_has_every_field_of_a_segment(client, clip, recognizer) -> None:
    found = client.audio.transcriptions.create(
        file=clip.path,
        model="whisper-1",
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    wanted = recognizer.transcribe(clip.path, "eng")
    assert (found.text, found.language) == (wanted.text, "eng")
    assert found.duration == pytest.approx(wanted.duration, abs=1e-3)
    assert [(w.word, w.start, w.end) for w in found.words] == [
        (w.text, w.start, w.end) for w in wanted.words
    ]
    (segment,) = found.segments
    assert (segment.start, segment.end) == (wanted.words[0].start, wanted.words[-1].end)
    assert segment.seek == round(segment.start / 0.02)
    logs = [math.log(word.confidence) for word in wanted.words]
    assert min(logs) < segment.avg_logprob < max(logs)
    assert 0 <= segment.no_speech_prob < 0.3
    assert segment.compression_ratio > 0.5
    assert (segment.tokens, segment.temperature, segment.id) == ([], 0.0, 0)


def test_verbose_json_has_words_only_when_asked(client, clip) -> None:
    found = client.audio.transcriptions.create(
        file=clip.path, model="whisper-1", language="en", response_format="verbose_json"
    )
    assert found.segments
    assert found.words is None


def test_logprobs_join_to_the_text(client, clip, text) -> None:
    found = client.audio.transcriptions.create(
        file=clip.path, model="whisper-1", language="en", include=["logprobs"]
    )
    assert "".join(one.token for one in found.logprobs) == text
    assert b"".join(bytes(map(int, one.bytes)) for one in found.logprobs) == text.encode()
    assert all(-3 < one.logprob <= 0 for one in found.logprobs)


def test_events_join_to_the_text(client, clip, text) -> None:
    with client.audio.transcriptions.create(
        file=clip.path, model="whisper-1", language="en", stream=True, include=["logprobs"]
    ) as stream:
        events = list(stream)
    assert "".join(e.delta for e in events if e.type == "transcript.text.delta") == text
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == text
    assert "".join(one.token for one in events[-1].logprobs) == text


def long_clip(clips: list[Clip]) -> bytes:
    """Return over a minute of English speech as WAV."""
    english = [read_audio(one.path).samples for one in clips if one.language == "eng"]
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.concatenate(english * 7) * 32767).astype("<i2").tobytes())
    return content.getvalue()


def test_events_come_while_the_rest_is_being_transcribed(client, clips) -> None:
    content = long_clip(clips)
    request = {"file": ("a.wav", content), "model": "whisper-1", "language": "en"}
    whole = client.audio.transcriptions.create(**request).text
    with client.audio.transcriptions.create(**request, stream=True) as stream:
        deltas = [event.delta for event in stream if event.type == "transcript.text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == whole


def test_client_that_leaves_its_events_frees_everything(server, client, clips) -> None:
    content = long_clip(clips)
    with client.audio.transcriptions.create(
        file=("a.wav", content), model="whisper-1", language="en", stream=True
    ) as stream:
        next(iter(stream))
    server.wait_metric("mms_requests_running", 0, 60)
    server.wait_metric("mms_decoded_seconds", 0, 60)
    server.wait_metric("mms_jobs_waiting", 0, 60)


def test_language_is_identified_where_it_is_missing(client, clip) -> None:
    for language in ({}, {"language": ""}):
        found = client.audio.transcriptions.create(
            file=clip.path, model="whisper-1", extra_body={"languages[]": ["eng"]}, **language
        )
        assert found.text


def test_hotwords_change_the_text(client, clip, text) -> None:
    found = client.audio.transcriptions.create(
        file=clip.path, model="whisper-1", language="en", keywords=["first"]
    )
    assert "first" in found.text.split()
    assert "first" not in text.split()
    prompted = client.audio.transcriptions.create(
        file=clip.path, model="whisper-1", language="en", prompt="first, other words"
    )
    assert prompted.text == found.text


@pytest.mark.parametrize(
    ("changes", "error", "param", "code"),
    [
        ({"language": "xx-none"}, openai.BadRequestError, "language", "unsupported_language"),
        ({"language": "deu"}, openai.BadRequestError, "language", "unsupported_language"),
        ({"model": "gpt-9"}, openai.NotFoundError, "model", "model_not_found"),
        ({"file": b"not audio"}, openai.BadRequestError, "file", "invalid_audio"),
        ({"file": b""}, openai.BadRequestError, "file", "empty_file"),
        (
            {"response_format": "diarized_json"},
            openai.BadRequestError,
            "response_format",
            "unsupported_value",
        ),
        ({"response_format": "xml"}, openai.BadRequestError, "response_format", "invalid_value"),
        ({"temperature": 7}, openai.BadRequestError, "temperature", "invalid_value"),
        (
            {"timestamp_granularities": ["word"]},
            openai.BadRequestError,
            "timestamp_granularities[]",
            "invalid_value",
        ),
        (
            {"response_format": "srt", "stream": True},
            openai.BadRequestError,
            "stream",
            "invalid_value",
        ),
    ],
)
def test_errors_are_in_the_envelope(client, clip, changes, error, param, code) -> None:
    request = {"file": clip.path, "model": "whisper-1", "language": "en", **changes}
    with pytest.raises(error) as raised:
        client.audio.transcriptions.create(**request)
    assert (raised.value.param, raised.value.code) == (param, code)
    assert raised.value.request_id.startswith("req-")


def test_unknown_language_names_the_nearest(client, clip) -> None:
    with pytest.raises(openai.BadRequestError, match=r"did you mean.*ita"):
        client.audio.transcriptions.create(file=clip.path, model="whisper-1", language="itz")


def test_translation_is_refused(client, clip) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.audio.translations.create(file=clip.path, model="whisper-1")
    assert raised.value.code == "unsupported_task"


def test_models_are_listed(client) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "demo"
    assert "whisper-1" in names
    assert client.models.retrieve("whisper-1").id == "whisper-1"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other/model")


def test_keys(demo_bundle: Path, clip: Clip) -> None:
    with running("--bundle", demo_bundle, env={"MMS_API_KEY": "secret"}) as server:

        def create(key: str) -> str:
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
            return client.audio.transcriptions.create(
                file=clip.path, model="whisper-1", language="en"
            ).text

        with pytest.raises(openai.AuthenticationError) as raised:
            create("wrong")
        assert raised.value.code == "invalid_api_key"
        assert create("secret")
        assert "secret" not in server.log


def test_async_client_runs_many_at_once(server: ServerProcess, clips, recognizer) -> None:
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            calls = [
                client.audio.transcriptions.create(
                    file=one.path, model="whisper-1", language=one.language
                )
                for one in clips * 2
            ]
            return [found.text for found in await asyncio.gather(*calls)]

    runs = server.metric("mms_batcher_runs_total")
    wanted = [recognizer.transcribe(one.path, one.language).text for one in clips]
    assert asyncio.run(run()) == wanted * 2
    assert server.metric("mms_batcher_runs_total") - runs < len(clips) * 2  # in common batches


def test_client_retries_as_told(demo_bundle: Path, clip: Clip) -> None:
    options = ("--bundle", demo_bundle, "--max-requests", 1)
    with running(*options) as server, server.connect() as occupying:
        occupying.sendall(request_head(1000))
        server.wait_metric("mms_requests_running", 1)
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.RateLimitError) as raised:
            client.audio.transcriptions.create(file=clip.path, model="whisper-1", language="en")
        assert raised.value.code == "overloaded"
        wait = float(raised.value.response.headers["Retry-After"])
        occupying.close()
        server.wait_metric("mms_requests_running", 0)
        with server.connect() as again:
            again.sendall(request_head(1000))
            server.wait_metric("mms_requests_running", 1)
            begin = time.monotonic()
            threading.Timer(wait / 2, again.close).start()
            patient = client.with_options(max_retries=2)
            found = patient.audio.transcriptions.create(
                file=clip.path, model="whisper-1", language="en"
            )
            assert found.text
            assert time.monotonic() - begin >= wait
