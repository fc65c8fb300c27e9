"""LiveKit's STT over the realtime interface: URL, MODEL, LANGUAGE (or auto), and clips in PCM WAV.

Each clip is a stream of its own; LiveKit keeps the connection for the next. Prints the events.
"""

import asyncio
import json
import sys
import wave
from pathlib import Path

from livekit import rtc
from livekit.agents import stt, utils
from livekit.plugins import openai

_PIECE = 480


def frames(path: Path) -> list[rtc.AudioFrame]:
    """Return a clip and two seconds of silence, in pieces."""
    with wave.open(str(path)) as file:
        rate, content = file.getframerate(), file.readframes(file.getnframes())
    content += bytes(4 * rate)
    content += bytes(-len(content) % (2 * _PIECE))
    pieces = [content[i : i + 2 * _PIECE] for i in range(0, len(content), 2 * _PIECE)]
    return [rtc.AudioFrame(piece, rate, 1, _PIECE) for piece in pieces]


async def transcribe(recognizer: openai.STT, path: Path) -> None:
    """Print the events of a clip up to its final text."""
    stream = recognizer.stream()
    for frame in frames(path):
        stream.push_frame(frame)
    async for event in stream:
        text = event.alternatives[0].text if event.alternatives else ""
        language = event.alternatives[0].language if event.alternatives else ""
        usage = event.recognition_usage
        seconds = usage.audio_duration if usage else None
        fields = {"type": event.type, "text": text, "language": language, "seconds": seconds}
        print(json.dumps({"clip": path.name, **fields}), flush=True)  # noqa: T201
        if event.type == stt.SpeechEventType.RECOGNITION_USAGE:
            break
    await stream.aclose()


async def main(url: str, model: str, language: str, *clips: str) -> None:
    """Transcribe the clips one after another."""
    async with utils.http_context.open():
        recognizer = openai.STT(
            base_url=f"{url}/v1",
            api_key="none",
            model=model,
            language=[] if language == "auto" else language,
            use_realtime=True,
        )
        for clip in clips:
            await transcribe(recognizer, Path(clip))
        await recognizer.aclose()


asyncio.run(main(*sys.argv[1:]))
