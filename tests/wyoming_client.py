"""Home Assistant's side of the Wyoming protocol, by the unmodified `wyoming` client."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import numpy as np
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.info import Describe, Info

from engine_demo import Clip
from mms_engine import Recognizer, read_audio
from mms_engine.asr.streaming import Final, StreamOptions
from server_process import ServerProcess

FORMAT = {"rate": 16_000, "width": 2, "channels": 1}
_Result = TypeVar("_Result")


def port_of(server: ServerProcess) -> int:
    server.wait_log("(Wyoming)")
    return int(re.search(r"listening on tcp://\S+:(\d+) \(Wyoming\)", server.log)[1])


@asynccontextmanager
async def connected(server: ServerProcess) -> AsyncIterator[AsyncTcpClient]:
    client = AsyncTcpClient("127.0.0.1", port_of(server), read_timeout=60)
    async with client:
        yield client


def with_client(
    server: ServerProcess, talk: Callable[[AsyncTcpClient], Awaitable[_Result]]
) -> _Result:
    async def run() -> _Result:
        async with connected(server) as client:
            return await talk(client)

    return asyncio.run(run())


async def ask(client: AsyncTcpClient, *requests: Eventable) -> Event | None:
    """Send requests and return the next event."""
    for request in requests:
        await client.write_event(request.event())
    return await client.read_event()


def info_of(server: ServerProcess) -> Info:
    async def talk(client: AsyncTcpClient) -> Info:
        return Info.from_event(await ask(client, Describe()))

    return with_client(server, talk)


def pcm(clip: Clip) -> np.ndarray:
    samples = read_audio(clip.path).samples
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")


def streamed(
    recognizer: Recognizer, language: str, samples: np.ndarray, options: StreamOptions | None = None
) -> str:
    """Return the text of the library's stream."""
    with recognizer.stream(language, options) as stream:
        events = [*stream.feed(samples), *stream.finish()]
    return " ".join(one.transcript.text for one in events if isinstance(one, Final))


async def recognized(
    client: AsyncTcpClient,
    samples: np.ndarray,
    request: Transcribe | None,
    *,
    size: int = 1024,
    **audio_format: int,
) -> list[Event]:
    """Send an utterance as Home Assistant does; return the events up to `transcript-stop`."""
    shape = {**FORMAT, **audio_format}
    if request is not None:
        await client.write_event(request.event())
    await client.write_event(AudioStart(**shape).event())

    async def upload() -> None:
        content = samples.tobytes()
        for start in range(0, len(content), size):
            await client.write_event(
                AudioChunk(**shape, audio=content[start : start + size]).event()
            )
        await client.write_event(AudioStop().event())

    uploading = asyncio.create_task(upload())
    events = []
    while not events or not TranscriptStop.is_type(events[-1].type):
        event = await client.read_event()
        if event is None:
            break
        events.append(event)
        if Error.is_type(event.type):
            break
    uploading.cancel()
    await asyncio.gather(uploading, return_exceptions=True)
    return events


def transcript_of(events: Sequence[Event]) -> Transcript:
    """Return the transcript of an utterance, whose events came in the order of the protocol."""
    kinds = [event.type for event in events]
    chunks = [TranscriptChunk.from_event(e).text for e in events if TranscriptChunk.is_type(e.type)]
    order = ["transcript-start", *["transcript-chunk"] * len(chunks), "transcript"]
    assert kinds == [*order, "transcript-stop"], events[-1]
    transcript = Transcript.from_event(events[-2])
    assert "".join(chunks) == transcript.text
    assert TranscriptStart.from_event(events[0]).language == transcript.language
    return transcript


async def spoken(client: AsyncTcpClient, *, until: str) -> tuple[np.ndarray, int, list[str]]:
    """Return the samples that come, their rate, and the types of the events."""
    kinds, pieces, rates = [], [], set()
    while not kinds or kinds[-1] != until:
        event = await client.read_event()
        assert event is not None, kinds
        assert not Error.is_type(event.type), event.data
        kinds.append(event.type)
        if AudioStart.is_type(event.type) or AudioChunk.is_type(event.type):
            shape = {name: event.data[name] for name in FORMAT}
            rates.add(shape["rate"])
            assert (shape["width"], shape["channels"]) == (2, 1)
        if AudioChunk.is_type(event.type):
            assert len(event.payload) <= 32 << 10
            pieces.append(np.frombuffer(event.payload, "<i2"))
    (rate,) = rates or {0}
    return np.concatenate(pieces or [np.zeros(0, "<i2")]), rate, kinds


def as_integers(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2")
