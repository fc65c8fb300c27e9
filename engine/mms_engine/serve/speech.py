"""Synthesis of the texts of all requests, a chunk at a time, in threads of its own."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from mms_engine.errors import LanguageError
from mms_engine.serve.config import ServeConfig
from mms_engine.serve.errors import ApiError, deadline_exceeded, invalid, missing_task
from mms_engine.serve.models import Models, VoiceModel
from mms_engine.serve.queue import Clock
from mms_engine.serve.slots import FairSlots
from mms_engine.system import usable_cores
from mms_engine.types import Audio, Dropped, Spoken

_THREADS_EACH = 2
"""Threads that a text keeps busy: its decoder, and the planning of its next sentence."""
_CHARACTER_SECONDS = 0.07
"""Speech of a character, for estimates."""
_PATIENCE_SECONDS = 30.0
"""Time after which a client that was refused is to come back."""
_Result = TypeVar("_Result")


class Speech:
    """Speech of texts. Methods run on the event loop, the synthesis in threads.

    A chunk, up to a second of audio, is made when its reader asks for it: a slow reader holds no
    thread and makes no audio wait in memory, and one that leaves has nothing to be stopped. Clients
    that wait for a thread are served in turn, a chunk each.
    """

    def __init__(self, config: ServeConfig, models: Callable[[], Models]) -> None:
        """Open nothing yet.

        Args:
            config: Configuration of the server.
            models: Returns the open models.
        """
        self._limits = config.limits
        self._models = models
        threads = config.run.threads or usable_cores()
        self._threads = max(1, threads // _THREADS_EACH)
        self._slots = FairSlots(self._threads, "mms-speech")
        self._pending: Counter[str] = Counter()
        """Characters by client of the texts whose next chunk waits or is made."""
        self.clock = Clock()
        self.seconds = 0.0
        """Audio made since the start."""

    @property
    def waiting(self) -> int:
        """Texts whose next chunk waits for a thread."""
        return self._slots.waiting

    def estimate(self, client: str, characters: int) -> float:
        """Return the seconds until a new text would be spoken, as its client gets a fair share."""
        own = self._pending[client] + characters
        others = sum(min(one, own) for name, one in self._pending.items() if name != client)
        speed = self.clock.speed * self._threads
        return (own + others) * _CHARACTER_SECONDS / speed if speed else 0.0

    async def unspoken(
        self, client: str, text: str, voice: str, *, model: VoiceModel | None = None
    ) -> tuple[Dropped, ...]:
        """Return the characters that the speech of a text would lack, in order.

        Raises:
            LanguageError, TextError, MmsError, ApiError: as for `speak`.
        """
        synthesizer = self._checked(text, voice, model).synthesizer
        deadline = self._deadline()
        return await self._run(client, 0, deadline, lambda: synthesizer.unspoken(text, voice))

    async def speak(
        self,
        client: str,
        text: str,
        voice: str,
        *,
        speed: float = 1.0,
        model: VoiceModel | None = None,
    ) -> AsyncIterator[Audio]:
        """Yield the audio of a text as it is made, at the rate of the voice.

        Args:
            client: Key or address, for fair shares.
            text: Up to the limit of characters.
            voice: Code of the voice.
            speed: Speed of the speech, 0.25 to 4.
            model: Model of the voice; by default the first that has it.

        Raises:
            ValueError: the speed is out of range.
            LanguageError: no model has the voice.
            TextError: nothing of the text can be spoken, or it is not valid.
            MmsError: the voice is damaged, or the device failed.
            ApiError: the text is too long, it would not be spoken before the deadline or was not,
                or there are no voices.
        """
        synthesizer = self._checked(text, voice, model).synthesizer
        self._check_load(client, len(text))
        deadline = self._deadline()
        left = len(text)

        def begin(sentence: Spoken) -> None:
            nonlocal left
            left = len(text) - sentence.offset

        chunks = synthesizer.speak(text, voice, speed=speed, on_sentence=begin)
        timed = self._timed(chunks)
        while True:
            chunk = await self._run(client, left, deadline, lambda: next(timed, None))
            if chunk is None:
                return
            self.seconds += chunk.seconds
            yield chunk

    def _checked(self, text: str, voice: str, model: VoiceModel | None) -> VoiceModel:
        most = self._limits.max_characters
        if len(text) > most:
            message = f"the text has {len(text)} characters, the limit is {most}"
            raise invalid(message, "input", "text_too_long")
        models = [model] if model is not None else self._models().voices
        if not models:
            raise missing_task("voices")
        for one in models:
            if voice in one.voices:
                return one
        raise LanguageError(f"no model of this server has the voice {voice!r}")

    def _check_load(self, client: str, characters: int) -> None:
        seconds = self.estimate(client, characters)
        if seconds > self._limits.request_seconds:
            message = f"the text would be spoken after {seconds:.0f} s, which is over the deadline"
            raise ApiError(429, message, code="overloaded", retry_after=_PATIENCE_SECONDS)

    def _timed(self, chunks: Iterator[Audio]) -> Iterator[Audio]:
        """Yield chunks, and at their end count the time that they took."""
        audio = seconds = 0.0
        begin = time.perf_counter()
        for chunk in chunks:
            seconds += time.perf_counter() - begin
            audio += chunk.seconds
            yield chunk
            begin = time.perf_counter()
        self.clock.count(audio, seconds)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._limits.request_seconds

    async def _run(
        self, client: str, characters: int, deadline: float, work: Callable[[], _Result]
    ) -> _Result:
        """Return the result of work in a thread, which the characters count as waiting for."""
        self._pending[client] += characters
        try:
            async with asyncio.timeout_at(deadline):
                return await self._slots.run(client, work)
        except TimeoutError:
            raise deadline_exceeded() from None
        finally:
            self._pending[client] -= characters
            if not self._pending[client]:
                del self._pending[client]

    def close(self) -> None:
        """End the threads after their work."""
        self._slots.close()
