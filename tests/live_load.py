"""Real-time clients of `/v1/stream`: how long they wait for events, pongs and refusals.

As a command, it prints the figures for a server that is running:
`python tests/live_load.py http://127.0.0.1:8000 --bundle FOLDER --streams 100 --refused 900`.
"""

import asyncio
import base64
import contextlib
import difflib
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from engine_demo import demo_clips
from mms_engine import Recognizer, StreamOptions, read_audio
from mms_engine.asr.streaming import Event

PIECE_SECONDS = 0.08
_PIECE_BYTES = round(PIECE_SECONDS * 32_000)
_PING_SECONDS = 0.5
_PATIENCE_SECONDS = 15.0
_ARRIVAL_SECONDS = 0.02
"""Time between two connections that are to be refused."""


@dataclass(frozen=True, slots=True)
class Talk:
    """Speech of a client, and the events of a stream of its own."""

    content: bytes
    """Samples, s16le at 16 kHz."""
    events: tuple[tuple[str, float], ...]
    """Text of each event, or its type, and the audio that it needs, in seconds."""


@dataclass(slots=True)
class Figures:
    """Times in seconds."""

    waits: list[float] = field(default_factory=list)
    """From the end of the audio that an event needs, when it is sent, to the event."""
    pings: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    accepted: int = 0
    """Connections that were to be refused and were not."""
    agreed: list[float] = field(default_factory=list)
    """Share of each client's events that equal those of a stream of its own."""

    def __str__(self) -> str:
        named = {"event": self.waits, "ping": self.pings, "refusal": self.refusals}
        lines = [
            f"{name}: p50 {1000 * np.quantile(values, 0.5):.0f} ms, "
            f"p95 {1000 * np.quantile(values, 0.95):.0f} ms, "
            f"longest {1000 * max(values):.0f} ms of {len(values)}"
            for name, values in named.items()
            if values
        ]
        lines.append(f"events as alone: {np.mean(self.agreed):.1%}; not refused: {self.accepted}")
        return "\n".join(lines)


def make_talk(recognizer: Recognizer, seconds: float) -> Talk:
    """Return speech of the demo's English clips."""
    clips = [read_audio(one.path).samples for one in demo_clips() if one.language == "eng"]
    pause = np.zeros(16_000, np.float32)
    speech = np.concatenate([part for clip in clips for part in (clip, pause)])
    samples = np.resize(speech, round(seconds * 16_000))
    content = (samples * 32767).astype("<i2").tobytes()
    stream = recognizer.stream("eng", StreamOptions(sample_format="s16le"))
    events: list[Event] = []
    for start in range(0, len(content), _PIECE_BYTES):
        events += stream.feed(content[start : start + _PIECE_BYTES])
    needed = tuple((_key(msgspec.to_builtins(one)), one.audio_seconds) for one in events)
    return Talk(content, needed)


def _key(fields: dict) -> str:
    return str(fields.get("text") or fields.get("transcript", {}).get("text") or fields["type"])


class _Client:
    def __init__(self, talk: Talk, figures: Figures) -> None:
        self._talk = talk
        self._figures = figures
        self._found: list[tuple[str, float]] = []
        self._all = asyncio.Event()

    async def run(self, url: str, delay: float) -> None:
        await asyncio.sleep(delay)
        async with connect(url, compression=None, proxy=None, max_size=None) as connection:
            await connection.recv()
            begin = time.monotonic()
            reading = asyncio.ensure_future(self._read(connection))
            pinging = asyncio.ensure_future(self._ping(connection))
            for number, start in enumerate(range(0, len(self._talk.content), _PIECE_BYTES), 1):
                await asyncio.sleep(begin + number * PIECE_SECONDS - time.monotonic())
                await connection.send(self._talk.content[start : start + _PIECE_BYTES])
            pinging.cancel()
            with contextlib.suppress(TimeoutError):  # the end suppresses partial text
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._all.wait()
            await connection.send('{"type": "finish"}')
            await reading
        self._count(begin)

    async def _read(self, connection: ClientConnection) -> None:
        async for message in connection:
            now = time.monotonic()
            self._found.append((_key(msgspec.json.decode(message)), now))
            if len(self._found) >= len(self._talk.events):
                self._all.set()

    async def _ping(self, connection: ClientConnection) -> None:
        while True:
            await asyncio.sleep(_PING_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
            begin = time.monotonic()
            await (await connection.ping())
            self._figures.pings.append(time.monotonic() - begin)

    def _count(self, begin: float) -> None:
        wanted = [key for key, _ in self._talk.events]
        matcher = difflib.SequenceMatcher(None, [k for k, _ in self._found], wanted, autojunk=False)
        blocks = matcher.get_matching_blocks()
        for block in blocks:
            for place in range(block.size):
                needed = self._talk.events[block.b + place][1]
                due = begin + -(-needed // PIECE_SECONDS) * PIECE_SECONDS
                self._figures.waits.append(self._found[block.a + place][1] - due)
        self._figures.agreed.append(sum(block.size for block in blocks) / len(wanted))


async def _refused(host: str, port: int, path: str, figures: Figures) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    begin = time.monotonic()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(head.encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    taken = time.monotonic() - begin
    writer.close()
    if answer.startswith((b"HTTP/1.1 429", b"HTTP/1.1 503")) and b"retry-after: " in answer.lower():
        figures.refusals.append(taken)
    else:
        figures.accepted += 1


async def measure(url: str, talk: Talk, streams: int, refused: int) -> Figures:
    """Return the figures of clients that speak at the same time, while others are refused."""
    parts, figures = urlsplit(url), Figures()
    path = "/v1/stream?language=eng"
    spread = 2.0
    clients = [
        asyncio.ensure_future(
            _Client(talk, figures).run(f"ws://{parts.netloc}{path}", spread * number / streams)
        )
        for number in range(streams)
    ]
    await asyncio.sleep(spread + 1.0)
    attempts = []
    for _ in range(refused):
        attempts.append(
            asyncio.ensure_future(
                _refused(str(parts.hostname), int(parts.port or 80), path, figures)
            )
        )
        await asyncio.sleep(_ARRIVAL_SECONDS)
    await asyncio.gather(*attempts, *clients)
    return figures


@click.command()
@click.argument("url")
@click.option("--bundle", type=click.Path(path_type=Path), required=True, help="Its bundle.")
@click.option("--streams", type=int, default=100, show_default=True, help="Clients that speak.")
@click.option("--refused", type=int, default=0, show_default=True, help="Further connections.")
@click.option("--seconds", type=float, default=30, show_default=True, help="Audio of each client.")
def main(url: str, bundle: Path, streams: int, refused: int, seconds: float) -> None:
    """Measure a running server with real-time clients of this machine."""
    with Recognizer.open(bundle, threads=1) as recognizer:
        talk = make_talk(recognizer, seconds)
    before = time.process_time()
    figures = asyncio.run(measure(url, talk, streams, refused))
    click.echo(figures)
    click.echo(f"the clients took {(time.process_time() - before) / seconds:.2f} of a core")


if __name__ == "__main__":
    main()
