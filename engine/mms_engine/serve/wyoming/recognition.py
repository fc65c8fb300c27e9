"""Recognition of one utterance: audio in, settled text and the transcript out."""

from collections.abc import Awaitable, Callable
from typing import Self

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.event import Eventable

from mms_engine.asr.streaming import (
    EndpointOptions,
    Event,
    Final,
    LanguageChange,
    Partial,
    StreamOptions,
)
from mms_engine.routing.router import is_auto
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.live.stream import LiveStream
from mms_engine.serve.service import Service
from mms_engine.serve.wyoming.info import Catalogue
from mms_engine.serve.wyoming.pcm import ChunkReader, check_format
from mms_engine.serve.wyoming.requests import AudioChunk, AudioStart, Transcribe
from mms_engine.text.segmentation import is_by_character

PAUSES = {"aggressive": 0.6, "default": 1.2, "relaxed": 2.0}
"""Seconds of silence that divide two passages, by `vad_sensitivity`."""
_NAME_WEIGHT, _TERM_WEIGHT = 6.0, 4.0
"""Scores of an occurrence of a name and of a term, in nats."""


class Utterance:
    """An utterance whose audio is being received."""

    def __init__(
        self, stream: LiveStream, language: str | None, given: str, max_seconds: float
    ) -> None:
        """Take over a stream; see `open`."""
        self._stream = stream
        self._language = language
        self._given = given
        self._max_seconds = max_seconds
        self._chunks = ChunkReader()
        self.seconds = 0.0
        """Audio received."""

    @classmethod
    async def open(
        cls,
        service: Service,
        catalogue: Catalogue,
        client: str,
        options: Transcribe,
        start: AudioStart,
    ) -> Self:
        """Open the stream of an utterance.

        Raises:
            ApiError: the options or the format cannot be used, or the server is full.
        """
        check_format(start.rate, start.width, start.channels)
        model, language = catalogue.recognition(options.name, options.language)
        stream = await service.live.open(client, model, language, stream_options(options, start))
        code = None if is_auto(language) else language
        return cls(stream, code, options.language or "", service.config.limits.max_seconds)

    async def feed(self, chunk: AudioChunk, payload: bytes) -> None:
        """Add audio; wait while too much of it is pending.

        Raises:
            ApiError: it cannot be read, or the utterance is too long.
        """
        samples = self._chunks.read(chunk.rate, chunk.width, chunk.channels, payload)
        self.seconds += len(samples) / chunk.rate
        if self.seconds > self._max_seconds:
            message = f"the utterance is longer than {self._max_seconds:g} s, the limit"
            raise ApiError(413, message, code="audio_too_long")
        await self._stream.feed(samples, chunk.rate)

    def finish(self) -> None:
        """End the audio."""
        self._stream.finish()

    async def answer(self, send: Callable[[Eventable], Awaitable[None]]) -> str:
        """Send the text as it settles, and the transcript when the audio has ended; return it."""
        found = UtteranceText(self._language)
        has_begun = False
        async with self._stream as stream:
            async for event in stream:
                if grown := found.take(event):
                    if not has_begun:
                        await send(TranscriptStart(language=self._name(found.language)))
                        has_begun = True
                    await send(TranscriptChunk(grown))
        language = self._name(found.language)
        if not has_begun:
            await send(TranscriptStart(language=language))
        await send(Transcript(found.text, language=language))
        await send(TranscriptStop())
        return found.text

    def _name(self, language: str | None) -> str | None:
        """Return the language as the client wrote it, or else an identified one's code."""
        return self._given or language


class UtteranceText:
    """Text so far. What `take` has returned never changes: joined, it is the text at the end."""

    def __init__(self, language: str | None) -> None:
        """Begin with nothing; `language` is `None` while it is not known."""
        self.text = ""
        """Finished passages, divided by pauses."""
        self._sent = ""
        self._use(language)

    def _use(self, language: str | None) -> None:
        self.language = language
        """Code of the last language with an adapter; `None` while it is not known."""
        self._separator = "" if language is not None and is_by_character(language) else " "

    def take(self, event: Event) -> str:
        """Return the settled text that an event adds, perhaps none."""
        if isinstance(event, LanguageChange):
            self._use(event.language or self.language)
        elif isinstance(event, Partial):
            return self._grown(self._joined(event.stable))
        elif isinstance(event, Final):
            self.text = self._joined(event.transcript.text)
            return self._grown(self.text)
        return ""

    def _joined(self, passage: str) -> str:
        return self._separator.join(filter(None, (self.text, passage)))

    def _grown(self, text: str) -> str:
        if not text.startswith(self._sent):
            return ""
        grown, self._sent = text[len(self._sent) :], text
        return grown


def stream_options(options: Transcribe, start: AudioStart) -> StreamOptions:
    """Return the options of the stream of an utterance.

    Raises:
        ApiError: 400; `vad_sensitivity` has another value.
    """
    sensitivity = options.vad_sensitivity or "default"
    if sensitivity not in PAUSES:
        message = f"vad_sensitivity must be one of {', '.join(PAUSES)}, not {sensitivity!r}"
        raise invalid(message, "vad_sensitivity")
    terms = dict.fromkeys(filter(str.strip, options.transcript_terms or ()), _TERM_WEIGHT)
    names = dict.fromkeys(filter(str.strip, options.transcript_names or ()), _NAME_WEIGHT)
    return StreamOptions(
        sample_rate=start.rate,
        endpoints=EndpointOptions(pause_seconds=PAUSES[sensitivity]),
        hotwords=terms | names or None,
    )
