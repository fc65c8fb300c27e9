"""Limits, configuration, discovery and end of the Wyoming protocol; its models by code."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from zeroconf import Zeroconf

from engine_demo import Clip
from mms_engine import Identifier, Recognizer, Router
from mms_engine.asr.streaming import Final, LanguageChange
from mms_engine.errors import MmsError
from mms_engine.languages import all_languages
from mms_engine.serve.config import WyomingConfig
from mms_engine.serve.errors import ApiError
from mms_engine.serve.models import Models
from mms_engine.serve.wyoming.frames import event_bytes
from mms_engine.serve.wyoming.info import Catalogue
from mms_engine.serve.wyoming.requests import VoiceChoice
from server_process import ServerProcess, running
from wyoming_client import (
    FORMAT,
    ask,
    connected,
    info_of,
    pcm,
    port_of,
    recognized,
    streamed,
    transcript_of,
    with_client,
)

MMS = [sys.executable, "-c", "from mms_engine.cli import main; main()"]


@pytest.fixture(scope="module")
def small(demo_bundle: Path) -> Iterator[ServerProcess]:
    options = {
        "--wyoming-port": 0,
        "--wyoming-language": "fr",
        "--header-seconds": 1,
        "--idle-seconds": 1,
        "--stream-idle-seconds": 2,
        "--max-seconds": 30,
        "--max-wyoming-connections": 4,
        "--max-client-streams": 2,
    }
    flat = [part for option in options.items() for part in option]
    with running("--bundle", demo_bundle, "--no-admission", *flat) as server:
        yield server


def test_idle_and_slow_clients_are_told_and_ended(small: ServerProcess) -> None:
    cases = [
        ([], 1, "idle_timeout", b""),
        ([AudioStart(**FORMAT)], 2, "idle_timeout", b""),
        ([], 1, "request_timeout", b'{"type": "ping"'),
        ([], 1, "request_timeout", b'{"type": "ping", "payload_length": 9}\n1234'),
    ]

    async def talk(case: tuple) -> None:
        requests, seconds, code, content = case
        async with connected(small) as client:
            begin = time.monotonic()
            for request in requests:
                await client.write_event(request.event())
            client._writer.write(content)
            error = Error.from_event(await client.read_event())
            took = time.monotonic() - begin
            assert error.code == code
            assert seconds - 0.1 < took < seconds + 5
            assert await client.read_event() is None

    async def run() -> None:
        await asyncio.gather(*map(talk, cases))

    asyncio.run(run())


def test_client_that_drips_bytes_is_ended(small: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", port_of(small)), timeout=30) as connection:
        begin = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < begin + 20:
                connection.sendall(b" ")
                time.sleep(0.05)
    assert time.monotonic() - begin < 10


def test_connections_beyond_the_limit_are_refused(small: ServerProcess) -> None:
    async def run() -> None:
        async with asyncio.TaskGroup() as group, connected(small) as one:
            async with connected(small) as two, connected(small) as three, connected(small) as four:
                held = (one, two, three, four)
                for client in held:
                    assert Pong.is_type((await ask(client, Ping())).type)
                async with connected(small) as fifth:
                    error = Error.from_event(await ask(fifth, Ping()))
                    assert error.code == "overloaded"
                    assert "4 Wyoming connections" in error.text
                for client in held:
                    assert Pong.is_type((await ask(client, Ping())).type)
            del group
        async with connected(small) as client:
            assert Pong.is_type((await ask(client, Ping())).type)

    asyncio.run(run())


def test_utterance_and_streams_have_limits(small: ServerProcess) -> None:
    async def long(client: AsyncTcpClient) -> Error:
        silence = np.zeros(16_000 * 31, "<i2")
        request = Transcribe(language="fr")
        return Error.from_event((await recognized(client, silence, request, size=32_000))[-1])

    assert with_client(small, long).code == "audio_too_long"

    async def many() -> str:
        async with connected(small) as one, connected(small) as two, connected(small) as three:
            for client in (one, two, three):
                await client.write_event(AudioStart(**FORMAT).event())
                await client.write_event(Ping().event())
            kinds = [await client.read_event() for client in (one, two, three)]
            (refused,) = (event for event in kinds if Error.is_type(event.type))
            return Error.from_event(refused).code

    assert asyncio.run(many()) == "rate_limit_exceeded"
    small.wait_metric("mms_streams", 0)


def test_subset_is_announced_and_is_the_language_of_requests_without_one(
    small: ServerProcess, recognizer: Recognizer, clips: list[Clip]
) -> None:
    (model,) = info_of(small).asr[0].models
    assert model.languages == ["fr", "fra"]
    french = next(one for one in clips if one.language == "fra")
    found = with_client(small, lambda client: recognized(client, pcm(french), None))
    assert transcript_of(found).text == streamed(recognizer, "fra", pcm(french))
    assert transcript_of(found).language == "fra"


def test_clients_that_leave_at_any_point_leave_nothing(small: ServerProcess, clip: Clip) -> None:
    chunk = AudioChunk(**FORMAT, audio=pcm(clip).tobytes()[:64_000])
    flow = [Transcribe(language="en"), AudioStart(**FORMAT), chunk, AudioStop(), Describe()]
    content = b"".join(event_bytes(one.event()) for one in flow)
    rng = np.random.default_rng(3)
    for length in [*rng.integers(0, len(content), 30).tolist(), len(content)]:
        with socket.create_connection(("127.0.0.1", port_of(small)), timeout=30) as connection:
            connection.sendall(content[:length])
            if length % 2:
                # The end is a reset, not a close.
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    small.wait_metric("mms_streams", 0)
    small.wait_metric("mms_sockets", 0)
    assert "Traceback" not in small.log
    found = with_client(small, lambda c: recognized(c, pcm(clip), Transcribe(language="en")))
    assert transcript_of(found).text


def test_language_is_identified(demo_bundle, demo_lid, recognizer, clips) -> None:
    """With the demo's model of identification, in the languages of the subset or in all."""
    spanish = pcm(next(one for one in clips if one.language == "spa"))
    options = ("--bundle", demo_bundle, "--bundle", demo_lid, "--threads", 1, "--wyoming-port", 0)
    for subset in ((), ("spa", "ita")):
        with Identifier.open(demo_lid, threads=1) as identifier:
            router = Router(recognizer, identifier)
            language = f"auto:{','.join(subset)}" if subset else "auto"
            with router.stream(language=language) as stream:
                events = [*stream.feed(spanish), *stream.finish()]
        text = " ".join(one.transcript.text for one in events if isinstance(one, Final))
        languages = [one.language for one in events if isinstance(one, LanguageChange)]
        chosen = [part for code in subset for part in ("--wyoming-language", code)]
        with running(*options, *chosen) as server:
            found = with_client(server, lambda client: recognized(client, spanish, None))
        transcript = transcript_of(found)
        assert (transcript.text, transcript.language) == (text, languages[-1])
        assert transcript.text
        assert not subset or transcript.language in subset


def voices(model: str, *codes: str) -> SimpleNamespace:
    """Return what the catalogue reads of a model of voices."""
    source = SimpleNamespace(name=model)
    bundle = SimpleNamespace(manifest=SimpleNamespace(source=source))
    synthesizer = SimpleNamespace(bundle=bundle, sample_rate=16_000)
    return SimpleNamespace(id=model, voices=codes, default=codes[0], synthesizer=synthesizer)


def recognizers(model: str, *codes: str) -> SimpleNamespace:
    """Return what the catalogue reads of a model of recognition."""
    bundle = SimpleNamespace(manifest=SimpleNamespace(source=SimpleNamespace(name=model)))
    return SimpleNamespace(id=model, languages=codes, recognizer=SimpleNamespace(bundle=bundle))


def catalogue(models: Models, **config: object) -> Catalogue:
    return Catalogue(models, WyomingConfig(port=0, **config))


def described(found: Catalogue) -> Info:
    header, _, data = found.info.partition(b"\n")
    assert json.loads(header)["data_length"] == len(data)
    return Info.from_event(SimpleNamespace(data=json.loads(data)))


def test_every_language_of_mms_is_announced_by_names_that_work() -> None:
    codes = [one.code for one in all_languages("asr")]
    spoken = [one.code for one in all_languages("tts")]
    models = Models(
        speech=[recognizers("facebook/mms-1b-all", *codes)],
        voices=[voices("facebook/mms-tts", *spoken)],
    )
    found = catalogue(models)
    info = described(found)
    names = info.asr[0].models[0].languages
    assert len(names) == len(set(names))
    assert set(codes) <= set(names)
    assert {"sw", "swh", "zh-Hans", "uz-Latn", "uz-Cyrl", "uz", "fil"} <= set(names)
    chosen = {name: found.recognition(None, name)[1] for name in names}
    assert {code: chosen[code] for code in codes} == {code: code for code in codes}
    assert chosen["sw"] == "swh"
    assert chosen["en"] == chosen["en-US".partition("-")[0]] == "eng"
    by_name = {one.name: one for one in info.tts[0].voices}
    assert list(by_name) == spoken
    assert by_name["swh"].languages == ["sw", "swh"]
    assert by_name["swh"].description == "Swahili (swh)"
    assert by_name["swh"].attribution.url == "https://huggingface.co/facebook/mms-tts"
    for voice in info.tts[0].voices:
        for name in voice.languages:
            assert found.voice(VoiceChoice(language=name))[0] in spoken
        assert found.voice(VoiceChoice(name=voice.name)) == (voice.name, 16_000)
    assert len(found.info) < 1 << 20


def test_models_are_chosen_by_language_and_name() -> None:
    models = Models(
        speech=[recognizers("one", "eng", "fra"), recognizers("two", "fra", "swh")],
        voices=[voices("a", "eng", "fra"), voices("b", "fra", "swh")],
    )
    found = catalogue(models)
    assert [one.name for one in described(found).asr[0].models] == ["one", "two"]
    assert [one.name for one in described(found).tts[0].voices] == ["fra", "swh", "eng"]
    for name, language, wanted in (
        (None, "fr", ("one", "fra")),
        (None, "sw", ("two", "swh")),
        ("two", "fr", ("two", "fra")),
    ):
        model, code = found.recognition(name, language)
        assert (model.id, code) == wanted
    assert found.voice(None) == ("eng", 16_000)
    assert found.voice(VoiceChoice(language="sw"))[0] == "swh"
    subset = catalogue(models, languages=("Swahili",), voices=("swh", "fra"))
    assert [one.name for one in described(subset).asr[0].models] == ["two"]
    assert found.voice(None) == ("eng", 16_000)
    assert subset.voice(None) == ("swh", 16_000)
    model, code = subset.recognition(None, None)
    assert (model.id, code) == ("two", "swh")
    with pytest.raises(ApiError, match="give one of eng, fra"):
        found.recognition(None, None)
    with pytest.raises(ApiError, match="did you mean eng"):
        found.recognition(None, "englisch")
    for config, words in (
        ({"languages": ("xyz",)}, "--wyoming-language xyz"),
        ({"voices": ("ita",)}, "--wyoming-voice ita"),
    ):
        with pytest.raises(MmsError, match=words):
            catalogue(models, **config)
    nothing = catalogue(Models(speech=models.speech))
    assert described(nothing).tts == []
    with pytest.raises(ApiError, match="voices"):
        nothing.voice(None)


def test_server_drains(demo_bundle, clip) -> None:
    """At SIGTERM an utterance is finished, what is new is refused, and the process ends."""
    with running("--bundle", demo_bundle, "--wyoming-port", 0) as server:

        async def run() -> None:
            async with connected(server) as idle, connected(server) as client:
                assert Pong.is_type((await ask(idle, Ping())).type)
                for request in (Transcribe(language="en"), AudioStart(**FORMAT), Ping()):
                    await client.write_event(request.event())
                assert Pong.is_type((await client.read_event()).type)
                server.process.send_signal(signal.SIGTERM)
                while server.get("/health/ready")[0] != 503:
                    await asyncio.sleep(0.01)
                error = Error.from_event(await ask(idle, AudioStart(**FORMAT)))
                assert error.code == "draining"
                await client.write_event(AudioChunk(**FORMAT, audio=pcm(clip).tobytes()).event())
                await client.write_event(AudioStop().event())
                events = []
                while (event := await client.read_event()) is not None:
                    events.append(event)
                assert transcript_of(events).text

        asyncio.run(run())
        assert server.process.wait(20) == 0
        assert "cut off" not in server.log
        assert "Traceback" not in server.log


def test_utterance_that_outlasts_the_drain_is_told(demo_bundle) -> None:
    options = ("--wyoming-port", 0, "--drain-seconds", 1)
    with running("--bundle", demo_bundle, *options) as server:

        async def talk(client: AsyncTcpClient) -> None:
            for request in (Transcribe(language="en"), AudioStart(**FORMAT), Ping()):
                await client.write_event(request.event())
            assert Pong.is_type((await client.read_event()).type)
            server.process.send_signal(signal.SIGTERM)
            assert Error.from_event(await client.read_event()).code == "draining"
            assert await client.read_event() is None

        with_client(server, talk)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log


def test_description_waits_for_nothing_while_models_are_loaded(demo_bundle) -> None:
    server = ServerProcess("--bundle", demo_bundle, "--wyoming-port", 0)
    try:

        async def talk(client: AsyncTcpClient) -> None:
            event = await ask(client, Describe())
            assert Info.is_type(event.type) or Error.from_event(event).code == "loading"

        with_client(server, talk)
        server.wait_ready()
        assert info_of(server).asr
    finally:
        server.close()


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (
            ["--wyoming-port", 0, "--wyoming-language", "xyz"],
            1,
            "--wyoming-language xyz: no bundle",
        ),
        (["--wyoming-port", 0, "--wyoming-voice", "eng"], 1, "--wyoming-voice eng: no bundle"),
        (["--wyoming-port", 0, "--wyoming-zeroconf", "mms"], 1, "add --wyoming-host"),
        (["--wyoming-language", "eng"], 2, "need --wyoming-port"),
    ],
)
def test_configuration_that_cannot_be_is_one_line(demo_bundle, options, status, words) -> None:
    command = [*MMS, "serve", "--port", "0", "--bundle", str(demo_bundle), *map(str, options)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == status
    assert words in found.stderr
    assert "Traceback" not in found.stderr


def test_address_that_is_taken_is_one_line(demo_bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [*MMS, "serve", "--port", "0", "--bundle", str(demo_bundle)]
        found = subprocess.run(
            [*command, "--wyoming-port", port], capture_output=True, text=True, timeout=60
        )
    assert found.returncode == 1
    assert "in use" in found.stderr
    assert "Traceback" not in found.stderr


def test_server_is_discovered_and_warns_where_it_is_open(demo_bundle) -> None:
    host = "127.0.0.2"  # a loopback address that is not the default
    options = ("--wyoming-port", 0, "--wyoming-host", host, "--wyoming-zeroconf", "mms test")
    with running("--bundle", demo_bundle, *options) as server:
        server.wait_log(f"Wyoming has no keys: everyone who reaches {host} may use the models")
        browser = Zeroconf(interfaces=[host])
        try:
            kind = "_wyoming._tcp.local."
            found = browser.get_service_info(kind, f"mms test.{kind}", timeout=10_000)
        finally:
            browser.close()
        assert (found.parsed_addresses(), found.port) == ([host], port_of(server))
        assert server.terminate() == 0
        assert "Traceback" not in server.log
