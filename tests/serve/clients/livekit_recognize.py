"""LiveKit's STT over REST: URL, MODEL, LANGUAGE, and a clip in PCM WAV. Prints the text."""

import asyncio
import json
import sys
import wave

from livekit import rtc
from livekit.plugins import openai


async def main(url: str, model: str, language: str, clip: str) -> None:
    """Transcribe the clip."""
    with wave.open(clip) as file:
        rate, content = file.getframerate(), file.readframes(file.getnframes())
    recognizer = openai.STT(base_url=f"{url}/v1", api_key="none", model=model, language=language)
    frame = rtc.AudioFrame(content, rate, 1, len(content) // 2)
    event = await recognizer.recognize(frame)
    found = event.alternatives[0]
    print(json.dumps({"text": found.text, "language": found.language}))  # noqa: T201


asyncio.run(main(*sys.argv[1:]))
