"""Synthesis of one text, whole or as its parts come: text in, audio out."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Eventable
from wyoming.tts import SynthesizeStopped

from mms_engine.audio.samples import to_int16
from mms_engine.errors import TextError
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.speech import Speech
from mms_engine.serve.wyoming.ssml import SsmlReader
from mms_engine.text.sentences import Sentence, SentenceSplitter
from mms_engine.tts.pauses import Pauses
from mms_engine.types import Audio

MAX_WAITING_CHARACTERS = 64 << 10
"""Text in parts that was received and is not spoken yet."""
_PIECE_CHARACTERS = 256
"""Text that is divided into sentences at once, on the event loop."""
_MAX_PAYLOAD_BYTES = 32 << 10
_WIDTH = 2
Send = Callable[[Eventable], Awaitable[None]]


def text_reader(text_format: str | None) -> SsmlReader | None:
    """Return the reader of a format; `None` for plain text.

    Raises:
        ApiError: 400; it is not known.
    """
    if text_format not in (None, "text", "ssml"):
        raise invalid(f"text_format must be text or ssml, not {text_format!r}", "text_format")
    return SsmlReader() if text_format == "ssml" else None


async def speak(speech: Speech, client: str, text: str, voice: str, send: Send) -> float:
    """Send the audio of a text; return its seconds.

    Raises:
        MmsError, ApiError: it cannot be spoken.
    """
    audio = _AudioEvents(send)
    async for chunk in speech.speak(client, text, voice):
        await audio.send(chunk)
    await audio.stop()
    return audio.seconds


class TextInParts:
    """A text whose parts are being received, and whose sentences are spoken meanwhile."""

    def __init__(
        self, speech: Speech, client: str, voice: str, rate: int, reader: SsmlReader | None
    ) -> None:
        """Begin with nothing.

        Args:
            speech: Synthesis.
            client: Name of the client.
            voice: Code of the voice.
            rate: Its sample rate in Hz.
            reader: Reader of the parts; `None` for plain text.
        """
        self._speech = speech
        self._client = client
        self._voice = voice
        self._reader = reader
        self._splitter = SentenceSplitter(voice)
        self._parts: deque[str] = deque()
        """Text that was received and not divided into sentences yet."""
        self._waiting = 0
        """Its characters."""
        self._rate = rate
        self._pauses = Pauses(rate)
        self._has_ended = False
        self._arrived = asyncio.Event()

    def add(self, part: str) -> None:
        """Add a part of the text.

        Raises:
            ApiError: it is not valid, or too much waits.
        """
        if self._waiting + len(part) > MAX_WAITING_CHARACTERS:
            message = f"more than {MAX_WAITING_CHARACTERS} characters wait to be spoken, the limit"
            raise ApiError(413, message, code="text_too_long")
        self._take(part if self._reader is None else self._reader.read(part))

    def finish(self) -> None:
        """End the text.

        Raises:
            ApiError: it is not valid.
        """
        if self._reader is not None:
            self._take(self._reader.read("", last=True))
        self._has_ended = True
        self._arrived.set()

    def _take(self, text: str) -> None:
        self._waiting += len(text)
        pieces = range(0, len(text), _PIECE_CHARACTERS)
        self._parts.extend(text[i : i + _PIECE_CHARACTERS] for i in pieces)
        self._arrived.set()

    async def _arriving(self) -> AsyncIterator[Sentence]:
        """Yield the sentences as their ends are known.

        Raises:
            TextError: the text is not valid.
        """
        while self._parts or not self._has_ended:
            while self._parts:
                part = self._parts.popleft()
                self._waiting -= len(part)
                for sentence in self._splitter.push(part):
                    yield sentence
                await asyncio.sleep(0)  # the division takes time too
            self._arrived.clear()
            if not self._has_ended:
                await self._arrived.wait()
        for sentence in self._splitter.finish():
            yield sentence

    async def answer(self, send: Send) -> float:
        """Send the audio of each sentence, with the pauses that it would have in a whole text.

        Returns:
            Seconds of audio.

        Raises:
            MmsError, ApiError: nothing of the text can be spoken, or the synthesis failed.
        """
        audio = _AudioEvents(send)
        unspoken: TextError | None = None
        async for sentence in self._arriving():
            if not sentence.text:
                self._pauses.rest(sentence.pause)
                continue
            try:
                await self._speak(sentence, audio)
            except TextError as error:
                unspoken = unspoken or error
        for silence in self._pauses.finish():
            await audio.send(Audio(silence, self._rate))
        await audio.stop()
        if unspoken is not None and not self._pauses.has_spoken:
            raise unspoken
        await send(SynthesizeStopped())
        return audio.seconds

    async def _speak(self, sentence: Sentence, audio: "_AudioEvents") -> None:
        has_begun = False
        async for chunk in self._speech.speak(self._client, sentence.text, self._voice):
            if not has_begun:
                self._pauses.begin()
                has_begun = True
            for samples in self._pauses.join(chunk.samples):
                await audio.send(Audio(samples, self._rate))
        self._pauses.end(sentence.pause)
        await audio.stop()


class _AudioEvents:
    """Sender of audio: `audio-start` before the first samples, and chunks of bounded size."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._rate = 0
        self.seconds = 0.0

    async def send(self, audio: Audio) -> None:
        rate = audio.sample_rate
        if not self._rate:
            self._rate = rate
            await self._send(AudioStart(rate, _WIDTH, 1))
        self.seconds += audio.seconds
        content = to_int16(audio.samples).astype("<i2").tobytes()
        for start in range(0, len(content), _MAX_PAYLOAD_BYTES):
            piece = content[start : start + _MAX_PAYLOAD_BYTES]
            await self._send(AudioChunk(rate, _WIDTH, 1, piece))

    async def stop(self) -> None:
        if self._rate:
            self._rate = 0
            await self._send(AudioStop())
