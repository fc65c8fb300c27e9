"""Clients of the soak: those that are honest, those that crash, and those that lie.

An honest client returns what it was told: for the same random numbers, always the same.
"""

import asyncio
import base64
import functools
import hashlib
import http.client
import json
import random
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from wyoming.asr import Transcribe
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize

from engine_demo import Clip
from server_process import BOUNDARY, ServerProcess, form_bytes, request_head
from wyoming_attack import Attack
from wyoming_client import pcm, port_of, recognized, spoken, transcript_of

VARIANTS = 8
"""Different requests of an honest client of each kind."""
PIECE_SECONDS = 0.1
HASTE = 4
"""Speed of clients of live streams, relative to real time."""
_TEXTS = ("The river was high after the rain.", "It rained. We walked home.", "Good morning!")
_PATIENCE = 120.0
_LONGEST_LIE = 15.0
"""Time for which a client that lied waits for the server to end the connection."""
_FORMATS = ("json", "verbose_json", "srt", "text")
TRANSCRIPTION = "conversation.item.input_audio_transcription."


@dataclass(frozen=True)
class World:
    """Server under load, and what its clients say."""

    server: ServerProcess
    clips: list[Clip]
    pcm: dict[str, np.ndarray] = field(default_factory=dict)

    def speech(self, clip: Clip) -> np.ndarray:
        """Return the samples of a clip and a second of silence, int16 at 16 kHz."""
        if clip.path.name not in self.pcm:
            silence = np.zeros(16_000, np.int16)
            self.pcm[clip.path.name] = np.concatenate([pcm(clip), silence])
        return self.pcm[clip.path.name]

    def socket(self, path: str) -> connect:
        """Return a WebSocket to be connected."""
        address = f"ws://127.0.0.1:{self.server.port}{path}"
        return connect(
            address,
            compression=None,
            proxy=None,
            max_size=None,
            open_timeout=_PATIENCE,
            ping_interval=None,
        )


Client = Callable[[World, random.Random], Awaitable[str]]


def _request(
    world: World, method: str, path: str, body: bytes | None = None, kind: str = ""
) -> bytes:
    """Return the body of an answer; blocks."""
    connection = http.client.HTTPConnection("127.0.0.1", world.server.port, timeout=_PATIENCE)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise AssertionError(f"{path}: {response.status} {content[:300]!r}")
    return content


def _form(fields: dict[str, str], content: bytes) -> tuple[bytes, str]:
    return form_bytes(content, **fields), f"multipart/form-data; boundary={BOUNDARY}"


async def transcribe(world: World, rng: random.Random) -> str:
    """Upload a clip."""
    clip = rng.choice(world.clips)
    fields = {"response_format": rng.choice(_FORMATS), "language": clip.language}
    if rng.random() < 0.3:
        fields = {"stream": "true", "language": clip.language}
    body = _form(fields, clip.path.read_bytes())
    path = "/v1/audio/transcriptions"
    answer = await asyncio.to_thread(_request, world, "POST", path, *body)
    return answer.decode()


async def examine(world: World, rng: random.Random) -> str:
    """Align or identify a clip, or list what there is."""
    clip = rng.choice(world.clips)
    content = clip.path.read_bytes()
    choice = rng.randrange(4)
    if choice == 0:
        body = _form({"text": clip.text, "language": clip.language}, content)
        answer = await asyncio.to_thread(_request, world, "POST", "/v1/audio/alignments", *body)
    elif choice == 1:
        body = _form({}, content)
        answer = await asyncio.to_thread(_request, world, "POST", "/v1/audio/languages", *body)
    elif choice == 2:
        secret = {"expires_after": {"anchor": "created_at", "seconds": 10}}
        sent = json.dumps(secret).encode(), "application/json"
        path = "/v1/realtime/client_secrets"
        await asyncio.to_thread(_request, world, "POST", path, *sent)
        answer = b"a secret"
    else:
        path = rng.choice(("/v1/models", "/v1/languages?query=fr", "/v1/voices", "/", "/v2"))
        answer = await asyncio.to_thread(_request, world, "GET", path)
    return answer.decode()


async def speak(world: World, rng: random.Random) -> str:
    """Have a text spoken."""
    audio_format = rng.choice(("wav", "pcm", "mp3", "opus", "flac", "aac"))
    fields = {"input": rng.choice(_TEXTS), "voice": "eng", "response_format": audio_format}
    body = json.dumps(fields).encode()
    answer = await asyncio.to_thread(
        _request, world, "POST", "/v1/audio/speech", body, "application/json"
    )
    if audio_format == "opus":  # the serial number of its stream is random
        return f"{len(answer)} bytes"
    return hashlib.sha256(answer).hexdigest()


async def stream(world: World, rng: random.Random) -> str:
    """Speak on `/v1/stream`; half of the clients break off once and resume."""
    clip = rng.choice(world.clips)
    if rng.random() < 0.2:
        return await _container(world, clip)
    content = world.speech(clip).tobytes()
    query = f"language={clip.language}&latency={rng.choice(('low', 'balanced'))}"
    if rng.random() < 0.5:
        async with world.socket(f"/v1/stream?{query}") as connection:
            return " ".join(await _talk(connection, content))
    query, place = f"{query}&resume=new", rng.randrange(len(content))
    connection = await world.socket(f"/v1/stream?{query}")
    session = json.loads(await connection.recv())["id"]
    await _send(connection, content[:place])
    await break_off(connection)
    async with world.socket(f"/v1/stream?resume={session}&after=0") as connection:
        resumed = json.loads(await connection.recv())
        return " ".join(await _talk(connection, content[resumed["audio_bytes"] :], begun=True))


async def _container(world: World, clip: Clip) -> str:
    query = f"language={clip.language}&format=container"
    async with world.socket(f"/v1/stream?{query}") as connection:
        return " ".join(await _talk(connection, clip.path.read_bytes()))


async def _talk(connection: ClientConnection, content: bytes, *, begun: bool = False) -> list[str]:
    """Send audio and the end; return the final texts."""
    if not begun:
        assert json.loads(await connection.recv())["type"] == "session"
    sending = asyncio.ensure_future(_send(connection, content, '{"type": "finish"}'))
    events = [json.loads(message) async for message in connection]
    await sending
    assert events[-1]["type"] == "end", events[-1]
    return [one["text"] for one in events if one["type"] == "final"]


async def _send(connection: ClientConnection, content: bytes, *after: str) -> None:
    size = round(PIECE_SECONDS * 32_000)
    for start in range(0, len(content), size):
        await connection.send(content[start : start + size])
        await asyncio.sleep(PIECE_SECONDS / HASTE)
    for message in after:
        await connection.send(message)


async def break_off(connection: ClientConnection) -> None:
    """Close a connection without the frames and packets that end it."""
    connection.transport.abort()
    with suppress(ConnectionClosed):
        await connection.wait_closed()


def session_update(clip: Clip) -> dict[str, Any]:
    audio = {
        "format": {"type": "audio/pcm", "rate": 16_000},
        "transcription": {"language": clip.language},
        "turn_detection": None,
    }
    return {"type": "session.update", "session": {"audio": {"input": audio}}}


def appended(content: bytes) -> str:
    audio = base64.b64encode(content).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


async def realtime(world: World, rng: random.Random) -> str:
    """Speak two turns in a realtime session, and commit them."""
    found = []
    async with world.socket("/v1/realtime?intent=transcription") as connection:
        for clip in rng.sample(world.clips, 2):
            await connection.send(json.dumps(session_update(clip)))
            content = world.speech(clip).tobytes()
            size = round(PIECE_SECONDS * 32_000)
            for start in range(0, len(content), size):
                await connection.send(appended(content[start : start + size]))
                await asyncio.sleep(PIECE_SECONDS / HASTE)
            await connection.send('{"type": "input_audio_buffer.commit"}')
            found.append(await _completed(connection))
    return " ".join(found)


async def _completed(connection: ClientConnection) -> str:
    while True:
        event = json.loads(await connection.recv())
        assert event["type"] not in ("error", TRANSCRIPTION + "failed"), event
        if event["type"] == TRANSCRIPTION + "completed":
            return str(event["transcript"])


async def wyoming(world: World, rng: random.Random) -> str:
    """Have a clip transcribed, or a text spoken, as Home Assistant does."""
    async with AsyncTcpClient("127.0.0.1", port_of(world.server), read_timeout=_PATIENCE) as client:
        if rng.random() < 0.6:
            clip = rng.choice(world.clips)
            request = Transcribe(language=clip.language)
            events = await recognized(client, world.speech(clip), request, size=8192)
            return transcript_of(events).text
        await client.write_event(Synthesize(rng.choice(_TEXTS)).event())
        samples, rate, _ = await spoken(client, until="audio-stop")
        return f"{rate} {hashlib.sha256(samples.tobytes()).hexdigest()}"


HONEST: dict[str, Client] = {
    "transcribe": transcribe,
    "examine": examine,
    "speak": speak,
    "stream": stream,
    "realtime": realtime,
    "wyoming": wyoming,
}


async def _raw(port: int, content: bytes, rng: random.Random, *, crashes: bool) -> str:
    """Send bytes; then break off, perhaps in the middle, or read what comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with suppress(ConnectionError, TimeoutError):
            if crashes:
                content = content[: rng.randint(1, len(content))]
            writer.write(content)
            await writer.drain()
            if crashes:
                await asyncio.sleep(rng.random())
                writer.transport.abort()
            async with asyncio.timeout(_LONGEST_LIE):
                while await reader.read(1 << 16):
                    pass
    finally:
        writer.close()
    return ""


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """Return content with a run of wrong bytes."""
    place = rng.randrange(len(content))
    return content[:place] + rng.randbytes(64) + content[place + 64 :]


async def bad_upload(world: World, rng: random.Random, path: str, **fields: str) -> str:
    """Break off an upload, or send one whose length, file or fields are wrong."""
    content = rng.choice(world.clips).path.read_bytes()
    lie = rng.randrange(6)
    if lie == 0:
        content = _damaged(content, rng)
    elif lie == 1:
        content = rng.randbytes(20_000)
    elif lie == 2:
        header = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 0xFFFFFFFF, b"WAVEfmt ", 16, 1, 1, 16_000,
                             32_000, 2, 16, b"data", 0xFFFFFFF0)  # fmt: skip
        content = header + bytes(1000)
    elif lie == 3:
        fields["language"] = rng.choice(("xx", "\0", "x" * 300))
    body = form_bytes(content, **fields)
    length: int | str = len(body)
    if lie == 4:
        length = rng.choice((len(body) + 1000, len(body) - 1000, 1 << 40, "-1", "many"))
    elif lie == 5:
        body = _damaged(body, rng)
    head = request_head(length, path, "Connection: close")
    return await _raw(world.server.port, head + body, rng, crashes=rng.random() < 0.5)


async def bad_speech(world: World, rng: random.Random) -> str:
    """Leave in the middle of speech, or ask for what cannot be spoken."""
    text = rng.choice((" ".join(_TEXTS * 5), "Ж", "\0", "x" * 5000, ""))
    fields = {"input": text, "voice": rng.choice(("eng", "xx")), "response_format": "wav"}
    body = json.dumps(fields).encode()
    if rng.random() < 0.2:
        body = _damaged(body, rng)
    lines = ("POST /v1/audio/speech HTTP/1.1", "Host: test", "Connection: close",
             "Content-Type: application/json", f"Content-Length: {len(body)}")  # fmt: skip
    head = "\r\n".join([*lines, "", ""]).encode()
    return await _raw(world.server.port, head + body, rng, crashes=rng.random() < 0.6)


async def bad_stream(world: World, rng: random.Random) -> str:
    """Break off a stream, or send what it does not take."""
    clip = rng.choice(world.clips)
    content = world.speech(clip).tobytes()
    options = ("", "&resume=new", "&format=container", "&format=f32le", "&resume=0", "&pause=no")
    path = f"/v1/stream?language={clip.language}{rng.choice(options)}"
    messages: list[Any] = [content[:20_001], rng.randbytes(9001), '{"type": "flush"}', "{", '"x"',
                           '{"type": "finish"}', b"", "[" * 5000]  # fmt: skip
    return await _bad_socket(world, path, messages, rng)


async def bad_realtime(world: World, rng: random.Random) -> str:
    """Break off a session, or send what it does not take."""
    clip = rng.choice(world.clips)
    content = world.speech(clip).tobytes()
    path = "/v1/realtime?intent=transcription"
    if rng.random() < 0.1:
        path = "/v1/realtime?model=none"
    update = json.dumps(session_update(clip))
    messages: list[Any] = [update, appended(content), appended(content[:999]), "{", b"\0", "[]",
                           '{"type": "input_audio_buffer.commit"}', '{"type": "nothing"}',
                           '{"type": "input_audio_buffer.clear"}',
                           '{"type": "input_audio_buffer.append", "audio": "?"}',
                           '{"type": "session.update", "session": {"audio": 1}}']  # fmt: skip
    return await _bad_socket(world, path, [update, *rng.choices(messages, k=6)], rng)


async def _bad_socket(world: World, path: str, messages: list[Any], rng: random.Random) -> str:
    try:
        connection = await world.socket(path)
    except InvalidStatus:
        return ""
    try:
        with suppress(ConnectionClosed, TimeoutError):
            for message in rng.choices(messages, k=rng.randint(1, 8)):
                await connection.send(message)
            if rng.random() < 0.5:
                async with asyncio.timeout(rng.random()):
                    async for _ in connection:
                        pass
    finally:
        if rng.random() < 0.7:
            await break_off(connection)
        else:
            await connection.close()
    return ""


async def bad_wyoming(world: World, rng: random.Random) -> str:
    """Send random events, some of them damaged."""
    content = Attack(rng).content() or b"\n"
    return await _raw(port_of(world.server), content, rng, crashes=rng.random() < 0.5)


_upload = functools.partial(bad_upload, path="/v1/audio/transcriptions")
_align = functools.partial(bad_upload, path="/v1/audio/alignments", text="a")
BAD: dict[str, Client] = {
    "transcribe": _upload,
    "examine": _align,
    "speak": bad_speech,
    "stream": bad_stream,
    "realtime": bad_realtime,
    "wyoming": bad_wyoming,
}
"""Clients that crash or lie."""
