"""Text of realtime sessions of a real server: OpenAI's client, unmodified, and raw sockets."""

import asyncio
import itertools
import threading
from collections.abc import Iterator

import av
import numpy as np
import openai
import pytest

from engine_demo import Clip
from mms_engine import Identifier
from mms_engine.asr.streaming import Final, StreamOptions
from mms_engine.routing.router import Router
from realtime_client import (
    COMPLETED,
    DELTA,
    INTENT,
    MANUAL,
    TURNS,
    Raw,
    of_library,
    pieces,
    samples_of,
    texts,
)
from server_process import ServerProcess, running


@pytest.fixture
def client(live: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_turns_of_the_sync_client(client, clips, recognizer) -> None:
    """Two turns in one session: the text is that of the library's stream on the same audio."""
    content = b"".join(samples_of(one, 24_000).tobytes() for one in clips if one.language == "eng")
    wanted = of_library(recognizer, content, "eng")
    assert len(wanted) >= 3
    with client.realtime.connect(extra_query=INTENT) as connection:
        assert connection.recv().type == "session.created"
        transcription = {"model": "gpt-4o-mini-transcribe", "language": "en"}
        connection.session.update(
            session={"type": "transcription", "audio": {"input": {"transcription": transcription}}}
        )
        assert connection.recv().session.audio.input.turn_detection.silence_duration_ms == 500
        for piece in pieces(content):
            connection.input_audio_buffer.append(audio=piece)
        found, streamed, previous = [], {}, None
        for event in connection:
            if event.type == DELTA:
                assert len(found) == len(streamed.keys() - {event.item_id})
                streamed[event.item_id] = streamed.get(event.item_id, "") + event.delta
            elif event.type == "input_audio_buffer.committed":
                assert event.previous_item_id == previous
                previous = event.item_id
            elif event.type == COMPLETED:
                found.append(event.transcript)
                assert event.transcript == streamed[event.item_id]
                assert event.usage.type == "duration"
                if len(found) == len(wanted):
                    break
    assert found == wanted


def test_manual_commits_of_the_async_client(live, clips, recognizer) -> None:
    spoken = [samples_of(one, 24_000).tobytes() for one in clips if one.language == "eng"][:2]
    options = StreamOptions(sample_format="s16le", sample_rate=24_000, endpoints=None)
    with recognizer.stream("eng", options) as stream:
        wanted = [texts(stream.feed(content) + stream.flush()) for content in spoken]

    async def work() -> list[list[str]]:
        async with (
            openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client,
            client.realtime.connect(model="whisper-1", extra_query=INTENT) as connection,
        ):
            await connection.session.update(session={"type": "transcription", **MANUAL})
            for content in spoken:
                for piece in pieces(content):
                    await connection.input_audio_buffer.append(audio=piece)
                await connection.input_audio_buffer.commit()
            found: list[list[str]] = []
            async for event in connection:
                assert event.type != "error", event
                if event.type == COMPLETED:
                    found.append([event.transcript])
                if len(found) == len(spoken):
                    break
            return found

    assert asyncio.run(asyncio.wait_for(work(), 60)) == wanted


def test_every_language(live, clips, recognizer) -> None:
    for clip in clips:
        content = samples_of(clip, 16_000).tobytes()
        options = StreamOptions(
            sample_format="s16le", latency="low", endpoints=TURNS.endpoints, sample_rate=16_000
        )
        wanted = of_library(recognizer, content, clip.language, options)
        with Raw(live) as session:
            session.update(
                audio={
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 16_000},
                        "transcription": {"language": clip.language, "delay": "low"},
                    }
                }
            )
            session.append(content)
            events = [event for _ in wanted for event in session.until(COMPLETED)]
        assert [one["transcript"] for one in events if one["type"] == COMPLETED] == wanted


def test_identified_language(live, clips, recognizer, demo_lid) -> None:
    with Identifier.open(demo_lid, threads=1) as identifier:
        router = Router(recognizer, identifier)
        for language in ("eng", "rus"):
            clip = next(one for one in clips if one.language == language)
            content = samples_of(clip, 24_000, 4.0).tobytes()
            with router.stream(TURNS) as stream:
                wanted = [one.transcript for one in stream.feed(content) if isinstance(one, Final)]
            assert wanted
            with Raw(live) as session:
                session.append(content)
                completed = [session.until(COMPLETED)[-1] for _ in wanted]
            assert [one["transcript"] for one in completed] == [one.text for one in wanted]
            assert [one["languages"] for one in completed] == [
                [{"code": one.language}] for one in wanted
            ]


@pytest.mark.parametrize(("kind", "law"), [("audio/pcmu", "mulaw"), ("audio/pcma", "alaw")])
def test_g711(live, clip, recognizer, kind, law) -> None:
    frame = av.AudioFrame.from_ndarray(
        samples_of(clip, 8_000)[np.newaxis], format="s16", layout="mono"
    )
    frame.sample_rate = 8_000
    codec = av.CodecContext.create(f"pcm_{law}", "w")
    codec.sample_rate, codec.layout, codec.format = 8_000, "mono", "s16"
    content = b"".join(bytes(packet) for packet in codec.encode(frame))
    options = StreamOptions(sample_format=law, sample_rate=8_000, endpoints=TURNS.endpoints)
    with Raw(live) as session:
        session.update(
            audio={"input": {"format": {"type": kind}, "transcription": {"language": "en"}}}
        )
        session.append(content)
        found = session.until(COMPLETED)[-1]["transcript"]
    assert [found] == of_library(recognizer, content, "eng", options)


def test_details_of_a_turn(live, clip, recognizer) -> None:
    content = samples_of(clip, 24_000).tobytes()
    with Raw(live) as session:
        session.update(
            audio={"input": {"transcription": {"language": "en"}}},
            include=[f"item.input_audio_transcription.{name}" for name in ("logprobs", "x_mms")],
        )
        session.append(content)
        events = session.until(COMPLETED)
    deltas = [one for one in events if one["type"] == DELTA]
    assert any(one["x_mms"]["unstable"] for one in deltas)
    completed = events[-1]
    assert "".join(one["delta"] for one in deltas) == completed["transcript"]
    [wanted] = of_library(recognizer, content, "eng")
    assert completed["transcript"] == wanted
    words = completed["x_mms"]["words"]
    assert " ".join(one["text"] for one in words) == wanted
    assert all(0 < one["confidence"] <= 1 for one in words)
    assert all(one["start"] < other["start"] for one, other in itertools.pairwise(words))
    assert "".join(one["token"] for one in completed["logprobs"]) == wanted


def test_hotwords_are_decoded_by_beam_search(live, clip, recognizer) -> None:
    content = samples_of(clip, 24_000).tobytes()
    with Raw(live) as session:
        own = {"language": "en", "keywords": ["first", "日本"]}
        session.update(
            audio={"input": {"transcription": own}},
            include=["item.input_audio_transcription.x_mms"],
        )
        session.append(content)
        completed = session.until(COMPLETED)[-1]
    assert "first" in completed["transcript"].split()
    assert "first" not in recognizer.transcribe(clip.path, "eng").text.split()
    assert "日本" in str(completed["x_mms"]["warnings"])


def test_update_during_speech_ends_the_turn(live, clips) -> None:
    english, french = (
        next(one for one in clips if one.language == code) for code in ("eng", "fra")
    )
    with Raw(live) as session:
        session.update(audio={"input": {"transcription": {"language": "en"}}})
        session.append(samples_of(english, 24_000, 0.0).tobytes())
        session.send(
            "session.update", session={"audio": {"input": {"transcription": {"language": "fr"}}}}
        )
        events = session.until("session.updated")
        assert COMPLETED in [one["type"] for one in events]
        session.append(samples_of(french, 24_000).tobytes())
        events = session.until(COMPLETED)
        assert events[0]["type"] == "input_audio_buffer.speech_started"
        assert events[0]["audio_start_ms"] >= 2000


def test_many_clips_in_constant_memory(live, clip) -> None:
    content = samples_of(clip, 24_000).tobytes()
    with Raw(live) as session:
        session.update(**MANUAL)
        found: set[str] = set()
        for number in range(60):
            session.append(content)
            session.send("input_audio_buffer.commit")
            found.add(session.until(COMPLETED)[-1]["item_id"])
            if number == 19:
                begin = live.resident_bytes()
        assert live.resident_bytes() - begin < 4 << 20
    assert len(found) == 60


def test_two_sessions_at_once(live, clips, recognizer) -> None:
    chosen = [next(one for one in clips if one.language == code) for code in ("eng", "ita")]
    contents = [samples_of(one, 24_000).tobytes() for one in chosen]
    found: dict[str, list[str]] = {"eng": [], "ita": []}
    wanted = {
        clip.language: of_library(recognizer, content, clip.language)
        for clip, content in zip(chosen, contents, strict=True)
    }

    def work(clip: Clip, content: bytes) -> None:
        with Raw(live) as session:
            session.update(audio={"input": {"transcription": {"language": clip.language}}})
            session.append(content)
            for _ in wanted[clip.language]:
                found[clip.language].append(session.until(COMPLETED)[-1]["transcript"])

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(chosen, contents, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == wanted


def test_client_reconnects_to_the_next_server(demo_bundle, clip) -> None:
    """A server that ends closes with a code at which OpenAI's client connects again."""
    codes: list[int] = []
    with running("--bundle", demo_bundle) as first:
        address = f"{first.url}/v1"
        with (
            openai.OpenAI(base_url=address, api_key="none") as client,
            client.realtime.connect(
                extra_query=INTENT, on_reconnecting=lambda event: codes.append(event.close_code)
            ) as connection,
        ):
            begun = connection.recv().session.id
            assert first.terminate() == 0
            with running("--bundle", demo_bundle, "--port", first.port):
                event = next(iter(connection))
                assert event.type == "session.created"
                assert event.session.id != begun
                connection.session.update(session={"type": "transcription", **MANUAL})
                for piece in pieces(samples_of(clip, 24_000).tobytes()):
                    connection.input_audio_buffer.append(audio=piece)
                connection.input_audio_buffer.commit()
                text = next(one.transcript for one in connection if one.type == COMPLETED)
    assert codes == [1012]
    assert "party" in text
