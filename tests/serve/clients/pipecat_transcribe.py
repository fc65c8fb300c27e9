"""Pipecat's STT services: URL, KIND, LANGUAGE, and a clip in PCM WAV. Prints the frames of text.

KIND is `rest`, `manual` (realtime, committed by Pipecat) or `server_vad` (realtime).
"""

import asyncio
import json
import sys
import wave

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.transcriptions.language import Language
from pipecat.workers.runner import WorkerRunner

_SHOWN = (
    ErrorFrame,
    InterimTranscriptionFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
)


class Printer(FrameProcessor):
    """Last processor: prints frames, and tells of the final text."""

    def __init__(self) -> None:
        super().__init__()
        self.is_final = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Print a frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, _SHOWN):
            text = getattr(frame, "text", getattr(frame, "error", ""))
            print(json.dumps({"type": type(frame).__name__, "text": text}), flush=True)  # noqa: T201
        if isinstance(frame, TranscriptionFrame):
            self.is_final.set()
        await self.push_frame(frame, direction)


def service(url: str, kind: str, language: Language) -> FrameProcessor:
    """Return the service of a kind."""
    if kind == "rest":
        settings = OpenAISTTService.Settings(model="whisper-1", language=language)
        return OpenAISTTService(api_key="none", base_url=f"{url}/v1", settings=settings)
    return OpenAIRealtimeSTTService(
        api_key="none",
        base_url=f"{url.replace('http', 'ws')}/v1/realtime",
        settings=OpenAIRealtimeSTTService.Settings(language=language),
        turn_detection=False if kind == "manual" else {"type": "server_vad"},
    )


async def main(url: str, kind: str, language: str, clip: str) -> None:
    """Transcribe the clip."""
    with wave.open(clip) as file:
        rate, content = file.getframerate(), file.readframes(file.getnframes())
    content += bytes(4 * rate)
    recognizer, printer = service(url, kind, Language(language)), Printer()
    worker = PipelineWorker(
        Pipeline([recognizer, printer]),
        params=PipelineParams(audio_in_sample_rate=rate),
    )
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def _(*_: object) -> None:
        started.set()

    async def speak() -> None:
        await started.wait()
        while not getattr(recognizer, "_session_ready", True):  # no event tells it
            await asyncio.sleep(0.01)
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        step = rate // 50 * 2
        for start in range(0, len(content), step):
            await worker.queue_frame(InputAudioRawFrame(content[start : start + step], rate, 1))
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
        await asyncio.wait_for(printer.is_final.wait(), 30)
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), speak())


asyncio.run(main(*sys.argv[1:]))
