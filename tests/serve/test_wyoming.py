"""Home Assistant's flows, replayed by the unmodified `wyoming` client against a real server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wyoming.asr import Transcribe, TranscriptChunk, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import SelectProgram
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from engine_demo import Clip
from mms_engine import BeamSearch, Recognizer, Synthesizer
from mms_engine.asr.streaming import EndpointOptions, StreamOptions
from server_process import ServerProcess, running
from wyoming_client import (
    FORMAT,
    as_integers,
    ask,
    connected,
    info_of,
    pcm,
    recognized,
    spoken,
    streamed,
    transcript_of,
    with_client,
)

TEXT = (
    "The river was high after the rain. The old bridge stood in the water, until the morning came."
)


@pytest.fixture(scope="module")
def home(demo_bundle: Path, demo_voice: Path) -> Iterator[ServerProcess]:
    """A server as for Home Assistant: recognition and a voice."""
    bundles = ("--bundle", demo_bundle, "--bundle", demo_voice)
    # One thread, as the library here: the last bits of a convolution depend on their number.
    options = ("--wyoming-port", 0, "--threads", 1, "--no-admission")
    with running(*bundles, *options) as server:
        yield server


@pytest.fixture(scope="module")
def voice(demo_voice: Path) -> Iterator[Synthesizer]:
    with Synthesizer.open(demo_voice, threads=1) as opened:
        yield opened


def test_description_has_what_home_assistant_reads(home: ServerProcess) -> None:
    info = info_of(home)
    (asr,), (tts,) = info.asr, info.tts
    assert (asr.name, asr.installed, asr.supports_transcript_streaming) == ("mms", True, True)
    assert (tts.name, tts.installed, tts.supports_synthesize_streaming) == ("mms", True, True)
    (model,) = asr.models
    wanted = ["en", "eng", "fr", "fra", "it", "ita", "ru", "rus", "es", "spa"]
    assert model.languages == wanted
    assert all(one.attribution.name and one.version for one in (asr, model, tts, *tts.voices))
    (voice,) = tts.voices
    assert (voice.name, voice.languages) == ("eng", ["en", "eng"])
    assert voice.description == "English (eng)"


def test_ping_and_programs(home: ServerProcess) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        assert Pong.from_event(await ask(client, Ping("a"))).text == "a"
        assert Pong.from_event(await ask(client, SelectProgram("mms"), Ping())).text is None
        # Events of other domains are ignored.
        await client.write_event(Event("run-satellite"))
        assert Pong.from_event(await ask(client, Ping("b"))).text == "b"
        error = Error.from_event(await ask(client, SelectProgram("whisper")))
        assert (error.code, error.text) == ("unknown_program", "no program 'whisper'; there is mms")
        assert await client.read_event() is None

    with_client(home, talk)


@pytest.mark.parametrize("language", ["en", "eng", "en-GB", "english"])
def test_transcript_is_that_of_the_library(home, recognizer, clip, language) -> None:
    samples = pcm(clip)

    async def talk(client: AsyncTcpClient) -> list[Event]:
        return await recognized(client, samples, Transcribe(language=language))

    found = transcript_of(with_client(home, talk))
    assert found.text == streamed(recognizer, "eng", samples)
    assert found.text
    assert found.language == language


def test_text_comes_while_audio_does(home, recognizer, clips) -> None:
    """The first words come before the end of the audio, and never change."""
    samples = np.concatenate([pcm(one) for one in clips if one.language == "eng"] * 2)

    async def talk(client: AsyncTcpClient) -> tuple[int, list[Event]]:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(**FORMAT).event())
        content = samples.tobytes()
        middle = len(content) // 2
        for start in range(0, middle, 8192):
            piece = content[start : min(start + 8192, middle)]
            await client.write_event(AudioChunk(**FORMAT, audio=piece).event())
        first = [await client.read_event(), await client.read_event()]
        await client.write_event(AudioChunk(**FORMAT, audio=content[middle:]).event())
        await client.write_event(AudioStop().event())
        rest = []
        while not rest or not TranscriptStop.is_type(rest[-1].type):
            rest.append(await client.read_event())
        return [*first, *rest]

    events = with_client(home, talk)
    assert TranscriptChunk.is_type(events[1].type)
    assert transcript_of(events).text == streamed(recognizer, "eng", samples)


def test_audio_of_any_format(home, recognizer, clip) -> None:
    samples = pcm(clip)
    wanted = streamed(recognizer, "eng", samples)
    twice = np.repeat(samples, 2)
    louder = samples.astype("<i4") << 16
    coarse = (samples.astype(np.int32) + 32768 >> 8).astype("u1")
    slow = samples[::2].copy()
    given = {
        "stereo": (twice, {"channels": 2}, wanted),
        "32 bits": (louder, {"width": 4}, wanted),
        "8 bits": (
            coarse,
            {"width": 1},
            streamed(recognizer, "eng", (coarse.astype(np.float32) - 128) / 128),
        ),
        "8 kHz": (
            slow,
            {"rate": 8000},
            streamed(recognizer, "eng", slow, StreamOptions(sample_rate=8000)),
        ),
    }

    async def talk(client: AsyncTcpClient) -> dict[str, str]:
        # One connection serves any number of utterances.
        return {
            name: transcript_of(
                await recognized(client, sent, Transcribe(language="en"), size=1001, **shape)
            ).text
            for name, (sent, shape, _) in given.items()
        }

    found = with_client(home, talk)
    assert found == {name: text for name, (_, _, text) in given.items()}


def test_sensitivity_is_the_pause(home, recognizer, clips) -> None:
    english = [pcm(one) for one in clips if one.language == "eng"]
    samples = np.concatenate([english[0], np.zeros(16_000 * 9 // 10, "<i2"), english[1]])

    async def talk(client: AsyncTcpClient) -> list[str]:
        return [
            transcript_of(
                await recognized(
                    client, samples, Transcribe(language="en", vad_sensitivity=sensitivity)
                )
            ).text
            for sensitivity in ("aggressive", "default", "relaxed")
        ]

    wanted = [
        streamed(
            recognizer, "eng", samples, StreamOptions(endpoints=EndpointOptions(pause_seconds=s))
        )
        for s in (0.6, 1.2, 2.0)
    ]
    assert with_client(home, talk) == wanted


def test_names_and_terms_are_favoured(home, demo_bundle, clip) -> None:
    names, terms = ["first"], ["letters"]

    async def talk(client: AsyncTcpClient) -> tuple[str, str]:
        request = Transcribe(language="en", transcript_names=names, transcript_terms=terms)
        return (
            transcript_of(await recognized(client, pcm(clip), Transcribe(language="en"))).text,
            transcript_of(await recognized(client, pcm(clip), request)).text,
        )

    plain, favoured = with_client(home, talk)
    with Recognizer.open(demo_bundle, threads=1, beam=BeamSearch()) as searching:
        hotwords = {"first": 6.0, "letters": 4.0}
        wanted = streamed(searching, "eng", pcm(clip), StreamOptions(hotwords=hotwords))
    assert favoured == wanted != plain
    assert "first" in favoured.split()


def test_missing_language_is_an_error_without_identification(home, clip) -> None:
    async def talk(client: AsyncTcpClient) -> Error:
        return Error.from_event((await recognized(client, pcm(clip), None))[-1])

    error = with_client(home, talk)
    assert "eng" in error.text


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        ([Transcribe(language="klingon")], "unsupported_language"),
        ([Transcribe(name="whisper-9")], "model_not_found"),
        (
            [Transcribe(language="en", vad_sensitivity="high"), AudioStart(**FORMAT)],
            "invalid_value",
        ),
        ([AudioStart(rate=16_000, width=3, channels=1)], "invalid_audio"),
        ([AudioStart(rate=1, width=2, channels=1)], "invalid_audio"),
        ([AudioStop()], "out_of_order"),
        ([Synthesize("a", SynthesizeVoice("klingon"))], "unsupported_language"),
        ([Synthesize("...")], "invalid_text"),
        ([Synthesize("a" * 5000)], "text_too_long"),
        ([Synthesize("a", text_format="html")], "invalid_value"),
        ([Synthesize("<audio/>", text_format="ssml")], "unsupported_ssml"),
        ([SynthesizeStart(), SynthesizeChunk("?!"), SynthesizeStop()], "invalid_text"),
        ([SynthesizeStart(), SynthesizeChunk("a" * 70_000)], "text_too_long"),
    ],
)
def test_error_is_one_event_and_ends_the_connection(home, requests, code) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        error = Error.from_event(await ask(client, *requests))
        assert error.code == code
        assert error.text
        assert await client.read_event() is None

    with_client(home, talk)
    info_of(home)


def test_speech_is_that_of_the_library(home, voice) -> None:
    wanted = as_integers(voice.synthesize(TEXT).samples)
    choices = [
        None,
        SynthesizeVoice("eng"),
        SynthesizeVoice(language="en-US"),
        SynthesizeVoice("eng", speaker="0"),
    ]

    async def talk(client: AsyncTcpClient) -> None:
        for choice in choices:
            await client.write_event(Synthesize(TEXT, choice).event())
            samples, rate, kinds = await spoken(client, until="audio-stop")
            assert rate == voice.sample_rate
            assert kinds == ["audio-start", *["audio-chunk"] * (len(kinds) - 2), "audio-stop"]
            assert np.array_equal(samples, wanted)

    with_client(home, talk)


@pytest.mark.parametrize("size", [1, 9, 1000])
def test_speech_of_a_text_in_parts_is_that_of_the_whole(home, voice, size) -> None:
    text = f"{TEXT}<break time='300ms'/> {TEXT} !!! {TEXT}"
    wanted = as_integers(voice.synthesize(text).samples)

    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(SynthesizeStart(SynthesizeVoice("eng")).event())
        for start in range(0, len(text), size):
            await client.write_event(SynthesizeChunk(text[start : start + size]).event())
        await client.write_event(Synthesize(text).event())  # for servers that take no parts
        await client.write_event(SynthesizeStop().event())
        samples, _, kinds = await spoken(client, until="synthesize-stopped")
        assert np.array_equal(samples, wanted)
        sentences = kinds.count("audio-start")
        assert sentences == kinds.count("audio-stop") == 6
        # The connection serves more.
        await client.write_event(Synthesize("Again.").event())
        again, _, _ = await spoken(client, until="audio-stop")
        assert np.array_equal(again, as_integers(voice.synthesize("Again.").samples))

    with_client(home, talk)


def test_sentence_is_spoken_while_the_text_comes(home) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk(TEXT).event())
        await client.write_event(SynthesizeChunk(" " + TEXT).event())
        first = await client.read_event()  # before the end of the text
        assert AudioStart.is_type(first.type)
        await client.write_event(SynthesizeStop().event())
        await spoken(client, until=SynthesizeStopped().event().type)

    with_client(home, talk)


def test_ssml_is_text_with_breaks(home, voice) -> None:
    text = 'The river was high.<break time="400ms"/> The old bridge stood &amp; fell.'
    ssml = f"<speak><p>{text}</p></speak>"
    wanted = as_integers(voice.synthesize(text.replace("&amp;", "&")).samples)

    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(Synthesize(ssml, text_format="ssml").event())
        samples, _, _ = await spoken(client, until="audio-stop")
        assert np.array_equal(samples, wanted)
        await client.write_event(SynthesizeStart(text_format="ssml").event())
        for character in ssml:
            await client.write_event(SynthesizeChunk(character).event())
        await client.write_event(SynthesizeStop().event())
        samples, _, _ = await spoken(client, until="synthesize-stopped")
        assert np.array_equal(samples, wanted)

    with_client(home, talk)


def test_empty_text_in_parts_is_silence(home) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        for parts in ([], ["", "  "]):
            for request in (SynthesizeStart(), *map(SynthesizeChunk, parts), SynthesizeStop()):
                await client.write_event(request.event())
            _, _, kinds = await spoken(client, until="synthesize-stopped")
            assert kinds == ["synthesize-stopped"]

    with_client(home, talk)


def test_twenty_clients_at_once(home, recognizer, voice, clips) -> None:
    english = [one for one in clips if one.language == "eng"]
    wanted = {one.path.name: streamed(recognizer, "eng", pcm(one)) for one in english}
    speech = as_integers(voice.synthesize("The river was high.").samples)

    async def listen(clip: Clip) -> None:
        async with connected(home) as client:
            events = await recognized(client, pcm(clip), Transcribe(language="en"))
            assert transcript_of(events).text == wanted[clip.path.name]

    async def talk() -> None:
        async with connected(home) as client:
            await client.write_event(Synthesize("The river was high.").event())
            samples, _, _ = await spoken(client, until="audio-stop")
            assert np.array_equal(samples, speech)

    async def run() -> None:
        listening = [listen(english[i % len(english)]) for i in range(14)]
        async with asyncio.timeout(120):
            await asyncio.gather(*listening, *(talk() for _ in range(6)))

    asyncio.run(run())
    home.wait_metric("mms_streams", 0)
    home.wait_metric("mms_requests_running", 0)
