"""LiveKit's STT over the realtime interface: URL, MODEL, and pairs of a language and a PCM WAV.

The language of the first may be `auto`. All clips go through one stream, whose language changes
before each. Prints the events.
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


def show(path: Path, event: stt.SpeechEvent) -> None:
    """Print an event."""
    best = event.alternatives[0] if event.alternatives else None
    usage = event.recognition_usage
    fields = {
        "clip": path.name,
        "type": event.type,
        "text": best.text if best else "",
        "language": best.language if best else "",
        "seconds": usage.audio_duration if usage else None,
    }
    print(json.dumps(fields), flush=True)  # noqa: T201


async def main(url: str, model: str, *pairs: str) -> None:
    """Transcribe the clips one after another."""
    languages, clips = pairs[::2], [Path(one) for one in pairs[1::2]]
    async with utils.http_context.open():
        recognizer = openai.STT(
            base_url=f"{url}/v1",
            api_key="none",
            model=model,
            language=[] if languages[0] == "auto" else languages[0],
            use_realtime=True,
        )
        stream = recognizer.stream()
        for number, path in enumerate(clips):
            if number:
                stream.update_options(language=languages[number])
                await asyncio.sleep(0)  # its task sends the update before the audio
            for frame in frames(path):
                stream.push_frame(frame)
            async for event in stream:
                show(path, event)
                if event.type == stt.SpeechEventType.RECOGNITION_USAGE:
                    break
        await stream.aclose()
        await recognizer.aclose()


asyncio.run(main(*sys.argv[1:]))
