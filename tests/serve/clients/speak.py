"""TTS services: URL, CLIENT (livekit or pipecat), MODEL, VOICE, TEXT, and a WAV to write.

Prints the sample rate, and the seconds of audio of each frame.
"""

import asyncio
import json
import sys
import wave
from collections.abc import AsyncIterator

from livekit.agents import utils
from livekit.plugins import openai
from pipecat.frames.frames import EndFrame, TTSAudioRawFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.workers.runner import WorkerRunner


async def livekit(url: str, model: str, voice: str, text: str) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the frames of LiveKit's service."""
    async with utils.http_context.open():
        service = openai.TTS(base_url=f"{url}/v1", api_key="none", model=model, voice=voice)
        async for event in service.synthesize(text):
            yield event.frame.sample_rate, event.frame.data.tobytes()
        await service.aclose()


async def pipecat(url: str, model: str, voice: str, text: str) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the frames of Pipecat's service."""
    found: list[tuple[int, bytes]] = []

    class Collector(FrameProcessor):
        async def process_frame(self, frame: object, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, TTSAudioRawFrame):
                found.append((frame.sample_rate, frame.audio))
            await self.push_frame(frame, direction)

    settings = OpenAITTSService.Settings(model=model, voice=voice)
    service = OpenAITTSService(api_key="none", base_url=f"{url}/v1", settings=settings)
    worker = PipelineWorker(
        Pipeline([service, Collector()]), params=PipelineParams(audio_out_sample_rate=24_000)
    )
    await worker.queue_frames([TTSSpeakFrame(text), EndFrame()])
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    for one in found:
        yield one


async def main(url: str, client: str, model: str, voice: str, text: str, path: str) -> None:
    """Speak the text."""
    speak = livekit if client == "livekit" else pipecat
    frames = [one async for one in speak(url, model, voice, text)]
    rate = frames[0][0]
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(content for _, content in frames))
    seconds = [round(len(content) / 2 / rate, 3) for _, content in frames]
    print(json.dumps({"rate": rate, "seconds": seconds}))  # noqa: T201


asyncio.run(main(*sys.argv[1:]))
