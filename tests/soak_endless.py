"""Clients of the soak that keep one connection the whole time."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import numpy as np
from websockets.asyncio.client import ClientConnection

from soak_clients import PIECE_SECONDS, TRANSCRIPTION, World, appended, session_update


async def endless_stream(world: World, end: Callable[[], bool]) -> int:
    """Speak in real time on one connection until the end; return the number of utterances."""
    content = np.concatenate([world.speech(c) for c in world.clips if c.language == "eng"])
    async with world.socket("/v1/stream?language=eng") as connection:
        events = asyncio.ensure_future(_count(connection, "final"))
        await _endless(content.tobytes(), connection.send, end)
        await connection.send('{"type": "finish"}')
        return await events


async def endless_realtime(world: World, end: Callable[[], bool]) -> int:
    """Speak in real time in one session with turn detection; return the number of turns."""
    clip = next(one for one in world.clips if one.language == "eng")
    update = session_update(clip)
    update["session"]["audio"]["input"]["turn_detection"] = {"type": "server_vad"}
    content = np.concatenate([world.speech(c) for c in world.clips if c.language == "eng"])
    async with world.socket("/v1/realtime?intent=transcription") as connection:
        await connection.send(json.dumps(update))
        events = asyncio.ensure_future(_count(connection, TRANSCRIPTION + "completed"))
        await _endless(content.tobytes(), lambda piece: connection.send(appended(piece)), end)
        await connection.close()
        return await events


async def _endless(
    content: bytes, send: Callable[[bytes], Awaitable[None]], end: Callable[[], bool]
) -> None:
    loop, size = asyncio.get_running_loop(), round(PIECE_SECONDS * 32_000)
    begin, count = loop.time(), 0
    while not end():
        start = count * size % (len(content) - size)
        await send(content[start : start + size])
        count += 1
        await asyncio.sleep(begin + count * PIECE_SECONDS - loop.time())


async def _count(connection: ClientConnection, kind: str) -> int:
    count = 0
    async for message in connection:
        event = json.loads(message)
        assert event["type"] != "error", event
        count += event["type"] == kind
    return count


ENDLESS = {"stream": endless_stream, "realtime": endless_realtime}
