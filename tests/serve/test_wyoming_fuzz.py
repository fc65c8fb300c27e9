"""Fuzzer of the Wyoming protocol: hostile clients beside honest ones, for a bounded time.

`MMS_FUZZ_SECONDS` sets the time, `MMS_FUZZ_SEED` the seed.
"""

import asyncio
import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from wyoming.asr import Transcribe
from wyoming.ping import Ping, Pong

from engine_demo import Clip
from mms_engine import Recognizer
from server_process import ServerProcess, running
from wyoming_attack import Attack
from wyoming_client import (
    ask,
    connected,
    pcm,
    port_of,
    recognized,
    streamed,
    transcript_of,
)

SECONDS = float(os.environ.get("MMS_FUZZ_SECONDS", "20"))
SEED = int(os.environ.get("MMS_FUZZ_SEED", "1"))
CLIENTS = 8
MAX_GROWTH = 48 << 20
"""Growth of the server's memory after the warm-up, which a leak of connections would exceed."""
LONGEST = 15.0
"""Seconds until a hostile connection must have ended: the limits below, on a busy machine."""


@pytest.fixture(scope="module")
def attacked(demo_bundle: Path, demo_voice: Path) -> Iterator[ServerProcess]:
    options = {
        "--wyoming-port": 0,
        "--header-seconds": 1,
        "--idle-seconds": 1,
        "--stream-idle-seconds": 1,
        "--max-seconds": 20,
        "--max-characters": 200,
        "--max-wyoming-connections": 4 * CLIENTS,
    }
    flat = [part for option in options.items() for part in option]
    bundles = ("--bundle", demo_bundle, "--bundle", demo_voice)
    with running(*bundles, "--no-admission", *flat) as server:
        yield server


async def attack(server: ServerProcess, rng: random.Random) -> float:
    """Send random bytes, read what comes or not, leave somehow; return the seconds it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    begin = time.monotonic()
    content = Attack(rng).content()
    try:
        with suppress(ConnectionError):
            step = rng.choice((len(content) + 1, 4096, 1000))
            for start in range(0, len(content), step):
                writer.write(content[start : start + step])
                await writer.drain()
            if rng.random() < 0.7:
                async with asyncio.timeout(LONGEST):
                    while await reader.read(1 << 16):
                        pass
            elif rng.random() < 0.5:
                writer.transport.abort()
    finally:
        writer.close()
    return time.monotonic() - begin


async def attack_on(server: ServerProcess, seed: int, end: float) -> int:
    """Attack until the time is over; return the number of connections."""
    rng, count = random.Random(seed), 0  # noqa: S311
    while time.monotonic() < end:
        await attack(server, rng)
        count += 1
    return count


async def ping_on(server: ServerProcess, end: float) -> list[float]:
    """Ping on one connection until the time is over; return the seconds of each answer."""
    seconds = []
    async with connected(server) as client:
        while time.monotonic() < end:
            begin = time.monotonic()
            assert Pong.from_event(await ask(client, Ping("honest"))).text == "honest"
            seconds.append(time.monotonic() - begin)
            await asyncio.sleep(0.05)
    return seconds


async def listen_on(server: ServerProcess, samples: np.ndarray, wanted: str, end: float) -> int:
    """Have a clip transcribed until the time is over; return how often."""
    count = 0
    while time.monotonic() < end:
        async with connected(server) as client:
            events = await recognized(client, samples, Transcribe(language="en"), size=8192)
        assert transcript_of(events).text == wanted
        count += 1
    return count


def test_hostile_clients_harm_nobody(
    attacked: ServerProcess, recognizer: Recognizer, clip: Clip
) -> None:
    samples = pcm(clip)
    wanted = streamed(recognizer, "eng", samples)

    async def siege(seconds: float, seed: int) -> tuple[list[float], int, int]:
        end = time.monotonic() + seconds
        pings, heard, *counts = await asyncio.gather(
            ping_on(attacked, end),
            listen_on(attacked, samples, wanted, end),
            *(attack_on(attacked, seed + number, end) for number in range(CLIENTS)),
        )
        return pings, heard, sum(counts)

    asyncio.run(siege(SECONDS / 4, 1000 * SEED))  # warm-up: threads, buffers, voices
    before = attacked.resident_bytes()
    pings, heard, count = asyncio.run(siege(SECONDS, 1000 * SEED + 500))
    growth = attacked.resident_bytes() - before
    figures = (
        f"{count} connections, {heard} utterances, ping at most {max(pings):.3f} s, "
        f"{growth / (1 << 20):.1f} MiB more"
    )
    logging.getLogger(__name__).info(figures)
    assert count > SECONDS
    assert heard > 0
    assert growth < MAX_GROWTH, figures
    attacked.wait_metric("mms_streams", 0)
    attacked.wait_metric("mms_sockets", 0)
    attacked.wait_metric("mms_requests_running", 0)
    assert attacked.process.poll() is None
    assert "Traceback" not in attacked.log
    assert "internal_error" not in attacked.log
