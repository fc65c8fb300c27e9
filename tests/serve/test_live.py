"""Live streams: their text, their bounds, and what they leave behind."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from engine_demo import Clip
from mms_engine import Identifier, Recognizer, read_audio
from mms_engine.asr.pool import PooledStream, capacity
from mms_engine.asr.streaming import Endpoint, Final, LanguageChange, StreamOptions
from mms_engine.decoding.options import BeamSearch
from mms_engine.errors import AudioError, BundleError, MmsError, StreamError
from mms_engine.serve.batcher import Batcher
from mms_engine.serve.config import Limits
from mms_engine.serve.errors import ApiError
from mms_engine.serve.live import stream as live_stream
from mms_engine.serve.live import streams as module
from mms_engine.serve.live.stream import LiveStream
from mms_engine.serve.live.streams import LiveStreams
from mms_engine.serve.models import Models, SpeechModel

CLIENT = "key one"
S16 = StreamOptions(sample_format="s16le")


@pytest.fixture(scope="module")
def models(recognizer: Recognizer, lid_bundle) -> Iterator[Models]:
    batcher = Batcher(recognizer.continuous())
    with Identifier.open(lid_bundle, threads=1) as identifier:
        yield Models([SpeechModel("demo", recognizer, batcher, None)], identifier)


@pytest.fixture
def streams(models: Models) -> Iterator[LiveStreams]:
    opened = LiveStreams(models, Limits(max_streams=4, max_client_streams=3), admission=False)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pcm(clip: Clip) -> bytes:
    return (read_audio(clip.path).samples * 32767).astype("<i2").tobytes()


def texts(events: list) -> list[str]:
    return [event.transcript.text for event in events if isinstance(event, Final)]


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work(), 60))


async def read(stream: LiveStream) -> list:
    return [event async for event in stream]


def test_text_is_that_of_the_library(streams, models, recognizer, pcm) -> None:
    async def work() -> list:
        stream = await streams.open(CLIENT, models.speech[0], "en", S16)
        assert (stream.language, stream.warnings) == ("eng", ())
        async with stream:
            await stream.feed(pcm[:-1])
            await stream.feed(pcm[-1:])
            stream.finish()
            events = await read(stream)
            assert stream.audio_seconds == pytest.approx(len(pcm) / 32_000)
            assert len(streams) == 0
        return events

    events = run(work)
    own = recognizer.stream("eng", S16)
    assert texts(events) == texts(own.feed(pcm) + own.finish())
    assert isinstance(events[-1], Endpoint)


def test_flush_ends_an_utterance_and_the_stream_goes_on(streams, models, pcm) -> None:
    async def work() -> list:
        async with await streams.open(CLIENT, models.speech[0], "eng", S16) as stream:
            for _ in range(2):
                await stream.feed(pcm)
                stream.flush()
            stream.finish()
            return await read(stream)

    events = run(work)
    assert len(texts(events)) == 2
    assert [one.reason for one in events if isinstance(one, Endpoint)] == ["flush", "flush", "end"]


def test_hours_of_audio_wait_for_the_pool(streams, models) -> None:
    """A client that sends faster than the machine computes holds a bounded amount of audio."""

    async def work() -> float:
        async with await streams.open(CLIENT, models.speech[0], "eng", StreamOptions()) as stream:
            noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 60).astype(np.float32)
            most = 0.0

            async def watch() -> None:
                nonlocal most
                while True:
                    most = max(most, stream._stream.pending_seconds)
                    await asyncio.sleep(0)

            watching = asyncio.ensure_future(watch())
            await stream.feed(noise)
            watching.cancel()
            assert stream.audio_seconds == pytest.approx(60)
            return most

    most = run(work)
    assert 15 < most < 17


def test_bounds_of_clients_and_of_the_server(streams, models) -> None:
    async def work() -> None:
        opened = [await streams.open(CLIENT, models.speech[0], "eng", S16) for _ in range(3)]
        with pytest.raises(ApiError) as raised:
            await streams.open(CLIENT, models.speech[0], "eng", S16)
        assert (raised.value.status, raised.value.code) == (429, "rate_limit_exceeded")
        opened.append(await streams.open("other", models.speech[0], "eng", S16))
        with pytest.raises(ApiError) as raised:
            await streams.open("third", models.speech[0], "eng", S16)
        assert (raised.value.status, raised.value.code) == (429, "overloaded")
        assert raised.value.headers["Retry-After"] == "5"
        for one in opened:
            one.cancel()
            one.cancel()
        assert len(streams) == 0
        (await streams.open(CLIENT, models.speech[0], "eng", S16)).cancel()

    run(work)


def test_machine_without_room_refuses(models, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(capacity, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(capacity.Capacity, "_time", lambda *given: 0.5 * given[-1])
    streams = LiveStreams(models, Limits())

    async def work() -> None:
        first = await streams.open(CLIENT, models.speech[0], "eng", S16)
        with pytest.raises(ApiError, match="no room for another stream") as raised:
            await streams.open(CLIENT, models.speech[0], "eng", S16)
        assert (raised.value.status, raised.value.code) == (429, "overloaded")
        assert len(streams) == 1
        first.cancel()

    try:
        run(work)
    finally:
        streams.close()


@pytest.mark.parametrize(
    ("language", "code"), [("xx", "unsupported_language"), ("auto:eng,xx", "unsupported_language")]
)
def test_unknown_language_is_refused_and_holds_nothing(streams, models, language, code) -> None:
    async def work() -> None:
        with pytest.raises(ApiError) as raised:
            await streams.open(CLIENT, models.speech[0], language, S16)
        assert (raised.value.status, raised.value.code) == (400, code)
        assert len(streams) == 0

    run(work)


def test_auto_without_identification_is_refused(models) -> None:
    streams = LiveStreams(Models(models.speech, None), Limits(), admission=False)

    async def work() -> None:
        for language in ("auto", "", "auto:eng,fra"):
            with pytest.raises(ApiError, match="cannot identify languages: give one of eng, fra"):
                await streams.open(CLIENT, models.speech[0], language, S16)
        one = await streams.open(CLIENT, models.speech[0], "auto:eng", S16)
        one.cancel()

    try:
        run(work)
    finally:
        streams.close()


@pytest.mark.parametrize("language", ["auto", "auto:fra,eng"])
def test_language_is_found_among_those_of_the_stream(streams, models, pcm, language) -> None:
    async def work() -> list:
        async with await streams.open(CLIENT, models.speech[0], language, S16) as stream:
            assert stream.language == "auto"
            await stream.feed(pcm * 3)
            stream.finish()
            return await read(stream)

    changes = [event.language for event in run(work) if isinstance(event, LanguageChange)]
    assert changes
    # The identification model is a random one.
    assert set(changes) <= {"eng", "fra", *([] if ":" in language else [None])}


def test_hotwords_use_beam_search(streams, models, pcm, demo_bundle) -> None:
    options = StreamOptions(sample_format="s16le", hotwords=("lites of your",))

    async def work() -> list:
        async with await streams.open(CLIENT, models.speech[0], "eng", options) as stream:
            await stream.feed(pcm)
            stream.finish()
            return await read(stream)

    with Recognizer.open(demo_bundle, threads=1, beam=BeamSearch()) as searching:
        own = searching.stream("eng", options)
        wanted = texts(own.feed(pcm) + own.finish())
    assert texts(run(work)) == wanted
    assert "of your" in wanted[0]  # greedy: ef your


def test_words_that_cannot_be_written_are_named(streams, models) -> None:
    options = StreamOptions(hotwords=("жук",))

    async def work() -> None:
        async with await streams.open(CLIENT, models.speech[0], "eng", options) as stream:
            assert "жук" in stream.warnings[0]

    run(work)


def test_opening_that_fails_holds_nothing(streams, models, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise BundleError("damaged")

    monkeypatch.setattr("mms_engine.asr.pool.pool.open_core", fail)

    async def work() -> None:
        with pytest.raises(BundleError, match="damaged"):
            await streams.open(CLIENT, models.speech[0], "eng", S16)
        assert len(streams) == len(streams._pools["demo"].streams) == 0

    run(work)


def test_client_that_does_not_read_fails_alone(streams, models, pcm, monkeypatch) -> None:
    monkeypatch.setattr(live_stream, "_UNREAD_EVENTS", 3)

    async def work() -> None:
        deaf = await streams.open(CLIENT, models.speech[0], "eng", S16)
        other = await streams.open(CLIENT, models.speech[0], "eng", S16)
        with pytest.raises(StreamError, match="3 events are unread, the limit"):
            for _ in range(100):
                await deaf.feed(pcm)
                deaf.flush()
        with pytest.raises(StreamError, match="3 events are unread"):
            await read(deaf)
        assert len(streams) == 1
        await other.feed(pcm)
        other.finish()
        assert texts(await read(other))
        assert len(streams) == 0

    run(work)


def test_invalid_audio_is_an_error_and_the_stream_goes_on(streams, models, clip) -> None:
    samples = read_audio(clip.path).samples

    async def work() -> list:
        async with await streams.open(CLIENT, models.speech[0], "eng", StreamOptions()) as stream:
            with pytest.raises(AudioError, match="NaN"):
                await stream.feed(np.full(10, np.nan, np.float32))
            await stream.feed(samples)
            stream.finish()
            events = await read(stream)
            with pytest.raises(StreamError, match="the stream is"):
                await stream.feed(samples)
            return events

    assert texts(run(work))


def test_failure_reaches_the_reader_and_the_feeder(streams, models, pcm, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("broken")

    async def work() -> None:
        stream = await streams.open(CLIENT, models.speech[0], "eng", S16)
        monkeypatch.setattr(PooledStream, "complete", fail)
        await stream.feed(pcm)
        with pytest.raises(MmsError, match="broken"):
            await read(stream)
        with pytest.raises(MmsError, match="a step of the stream failed: broken"):
            await stream.feed(pcm)
        assert len(streams) == 0

    run(work)


def test_cancelled_opening_leaves_nothing(streams, models, monkeypatch) -> None:
    """The thread that opens the stream ends after its caller."""
    import threading

    proceed = threading.Event()
    original = module._Pool.open

    def slow(self, *arguments: object) -> PooledStream:
        proceed.wait(30)
        return original(self, *arguments)

    monkeypatch.setattr(module._Pool, "open", slow)

    async def work() -> None:
        opening = asyncio.ensure_future(streams.open(CLIENT, models.speech[0], "eng", S16))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert len(streams) == 0
        proceed.set()
        monkeypatch.setattr(module._Pool, "open", original)
        pool = streams._pools["demo"].streams
        one = await streams.open(CLIENT, models.speech[0], "eng", S16)
        while len(pool) != 1:
            await asyncio.sleep(0.01)
        one.cancel()

    run(work)
