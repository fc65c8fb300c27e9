"""Live streams: pools of streams whose events go to the event loop."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mms_engine.asr.pool import PooledStream, PoolOptions, StreamPool
from mms_engine.asr.streaming import Endpoint, Event, StreamOptions
from mms_engine.asr.streaming.language import AUTO, LanguageFinder
from mms_engine.errors import (
    BackendError,
    BundleError,
    CapacityError,
    DeviceLostError,
    MmsError,
    StreamError,
)
from mms_engine.lid.identifier import Identifier
from mms_engine.routing.router import Router, is_auto
from mms_engine.serve.config import Limits
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.languages import language_code
from mms_engine.serve.models import Models, SpeechModel
from mms_engine.serve.slots import FairSlots

logger = logging.getLogger(__name__)

_PENDING_SECONDS = 15.0
"""Pending audio of a stream beyond which `feed` waits."""
_UNREAD_EVENTS = 200
"""Unread events at which a stream fails."""
_PIECE_BYTES = 1 << 15
_PIECE_SAMPLES = 1 << 14
_OPENING_THREADS = 2
_BUSY_SECONDS = 5.0
"""Time after which a refused client is to come back: streams end at any time."""


class LiveStreams:
    """The streams of all clients. Methods run on the event loop, the work in threads."""

    def __init__(self, models: Models, limits: Limits, *, admission: bool = True) -> None:
        """Make a pool for each recogniser, and measure what the machine sustains; takes seconds.

        Args:
            models: Open models.
            limits: Bounds.
            admission: Whether to refuse streams beyond what the machine sustains.
        """
        self.error: DeviceLostError | None = None
        """Failure that ended the use of the device."""
        self._limits = limits
        self._by_client: Counter[str] = Counter()
        self._slots = FairSlots(_OPENING_THREADS, "mms-open")
        self._options = PoolOptions(
            max_streams=2 * limits.max_streams,  # those that are just ending included
            pending_seconds=2 * _PENDING_SECONDS,
            admission=admission,
            beam_for_hotwords=True,
        )
        self._pools: dict[str, _Pool] = {}
        try:
            for model in models.speech:
                self._add(model, models.identifier)
        except BaseException:
            self.close()
            raise

    def _add(self, model: SpeechModel, identifier: Identifier | None) -> None:
        pool = _Pool(model, identifier, self._options)
        try:
            if self._options.admission:
                found = pool.streams.describe_capacity(model.languages[0])
                logger.info("%s: %s", model.id, found)
        except (BundleError, BackendError) as error:
            logger.warning("%s has no live streams: %s", model.id, error)
            pool.streams.close()
        else:
            self._pools[model.id] = pool

    def __len__(self) -> int:
        """Return the number of open streams."""
        return self._by_client.total()

    async def open(
        self, client: str, model: SpeechModel, language: str, options: StreamOptions
    ) -> "LiveStream":
        """Open a stream.

        Args:
            client: Key or address.
            model: Recogniser.
            language: Code, tag or name; `auto`, or `auto:eng,fra`, to identify it. Empty for the
                only language of the model, or `auto`.
            options: Options.

        Raises:
            ApiError: 400, 404, 429 or 503; nothing is held.
            MmsError: the options cannot be used.
        """
        pool = self._pools.get(model.id)
        if pool is None:
            message = f"the model {model.id} has no live streams: its bundle has no graph for them"
            raise ApiError(404, message, code="task_not_available", param="model")
        code = pool.language(language)
        self._enter(client)
        stream = LiveStream(lambda: self._leave(client), self._note)
        try:
            await self._attach(client, stream, lambda: pool.open(code, options, stream))
        except BaseException:
            stream.cancel()
            raise
        return stream

    async def _attach(
        self, client: str, stream: "LiveStream", work: Callable[[], PooledStream]
    ) -> None:
        """Open a stream in a thread; if nobody waits for it any more, cancel it."""
        opening = asyncio.ensure_future(self._slots.run(client, work))
        try:
            stream.attach(await asyncio.shield(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_discard)
            raise
        except CapacityError as error:
            raise _overloaded(str(error)) from error

    def _enter(self, client: str) -> None:
        limits = self._limits
        if self.error is not None:
            raise ApiError(503, "the device failed", code="device_error", retry_after=5)
        if len(self) >= limits.max_streams:
            raise _overloaded(f"the server has {limits.max_streams} live streams, its limit")
        if self._by_client[client] >= limits.max_client_streams:
            message = f"this client has {limits.max_client_streams} live streams, its limit"
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after=_BUSY_SECONDS)
        self._by_client[client] += 1

    def _leave(self, client: str) -> None:
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def _note(self, error: MmsError) -> None:
        if isinstance(error, DeviceLostError):
            self.error = error

    def close(self) -> None:
        """Cancel all streams and free the pools."""
        self._slots.close()
        for pool in self._pools.values():
            pool.streams.close()


def _overloaded(message: str) -> ApiError:
    return ApiError(429, message, code="overloaded", retry_after=_BUSY_SECONDS)


def _discard(opening: "asyncio.Future[PooledStream]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().cancel()


class _Pool:
    """Pool of one recogniser, and the languages that its streams can find."""

    def __init__(
        self, model: SpeechModel, identifier: Identifier | None, options: PoolOptions
    ) -> None:
        self._model = model
        self._router = None if identifier is None else Router(model.recognizer, identifier)
        try:
            self._finder = None if self._router is None else self._router.finder()
        except MmsError as error:  # no language in common
            logger.warning("%s: no live streams in the language auto: %s", model.id, error)
            self._router = self._finder = None
        self.streams: StreamPool = model.recognizer.pool(options, finder=self._finder)

    def language(self, given: str) -> str:
        """Return a code, `auto`, or `auto:` and sorted codes.

        Raises:
            ApiError: it is not known, or cannot be identified.
        """
        known = self._model.languages
        given = given.strip() or (known[0] if len(known) == 1 else AUTO)
        if not is_auto(given):
            return language_code(given, known)
        _, _, among = given.partition(":")
        codes = {language_code(one, known) for one in among.split(",") if one.strip()}
        if len(codes) == 1:
            return codes.pop()
        if self._router is None:
            message = f"this server cannot identify languages: give one of {', '.join(known[:5])}"
            raise invalid(message, "language", "missing_language")
        return f"{AUTO}:{','.join(sorted(codes))}" if codes else AUTO

    def open(self, language: str, options: StreamOptions, stream: "LiveStream") -> PooledStream:
        """Open a stream; in a thread."""
        finder: LanguageFinder | None = None
        if is_auto(language) and self._router is not None:
            finder, language = self._router.finder(language), AUTO
        return self.streams.open(
            language, options, listener=stream.listen, finder=finder, advanced=stream.advanced
        )


class LiveStream:
    """Stream of one client. Its methods run on the event loop; use it as a context manager."""

    def __init__(self, leave: Callable[[], None], note: Callable[[MmsError], None]) -> None:
        """Wait for `attach`.

        Args:
            leave: Called once, when the stream has ended.
            note: Called with the error if it fails.
        """
        self._loop = asyncio.get_running_loop()
        self._leave: Callable[[], None] | None = leave
        self._note = note
        self._stream: PooledStream | None = None
        self._events: asyncio.Queue[Event | MmsError | None] = asyncio.Queue()
        self._lock = threading.Lock()
        self._unread = 0
        """Events that were not read, those on their way to the event loop included."""
        self._room = asyncio.Event()
        self._is_waiting = False

    def attach(self, stream: PooledStream) -> None:
        """Take the stream of the pool."""
        self._stream = stream
        if self._leave is None:  # cancelled meanwhile
            stream.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.cancel()

    @property
    def _opened(self) -> PooledStream:
        if self._stream is None:
            raise RuntimeError("the stream is not open yet")
        return self._stream

    @property
    def language(self) -> str:
        """Language code; `auto` while it is not known, or has no adapter."""
        return self._opened.language

    @property
    def warnings(self) -> tuple[str, ...]:
        """Words of the language model and hotwords that cannot be used."""
        return self._opened.warnings

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio fed."""
        return self._opened.audio_seconds

    async def feed(self, pcm: bytes | npt.NDArray[Any], sample_rate: int | None = None) -> None:
        """Feed audio; wait while too much of it is pending.

        Args:
            pcm: Bytes in the format of the options, cut anywhere; or float32 or int16 `[N]`.
            sample_rate: New sample rate in Hz, where it changes.

        Raises:
            AudioError: it is not valid audio.
            StreamError: the stream has ended.
            MmsError: why the stream failed.
        """
        stream = self._opened
        size = _PIECE_SAMPLES if isinstance(pcm, np.ndarray) else _PIECE_BYTES
        for start in range(0, len(pcm), size):
            await self._has_room()
            try:
                stream.feed(pcm[start : start + size], sample_rate)
            except StreamError:
                if stream.error is not None:
                    raise stream.error from None
                raise

    async def _has_room(self) -> None:
        stream = self._opened
        while stream.pending_seconds > _PENDING_SECONDS and self._leave is not None:
            self._room.clear()
            self._is_waiting = True
            if stream.pending_seconds > _PENDING_SECONDS:  # else it advanced before the flag
                await self._room.wait()

    def flush(self) -> None:
        """Request the end of the utterance after the audio fed so far; more audio may follow.

        Raises:
            StreamError: the stream has ended or failed.
        """
        self._opened.flush()

    def finish(self) -> None:
        """Request the end of the stream; its last events follow.

        Raises:
            StreamError: the stream has ended or failed.
        """
        self._opened.finish()

    def cancel(self) -> None:
        """End the stream and drop its audio; may be called again, and after its end."""
        if self._stream is not None:
            self._stream.cancel()
        self._end(None)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the events until the stream has ended.

        Raises:
            MmsError: why the stream failed.
        """
        while (event := await self._events.get()) is not None:
            if isinstance(event, MmsError):
                raise event
            with self._lock:
                self._unread -= 1
            yield event
            if _is_last(event):
                return

    def _end(self, last: Event | MmsError | None) -> None:
        """Leave once, with the last event."""
        if self._leave is None:
            return
        leave, self._leave = self._leave, None
        self._room.set()
        if isinstance(last, MmsError):
            self._note(last)
        self._events.put_nowait(last)
        leave()

    # Called by the pool's threads:

    def listen(self, event: Event | MmsError) -> None:
        """Pass an event on to the event loop.

        Raises:
            StreamError: too many are unread.
        """
        if not isinstance(event, MmsError):
            with self._lock:
                if self._unread >= _UNREAD_EVENTS:
                    raise StreamError(f"{self._unread} events are unread, the limit: read faster")
                self._unread += 1
        self._call(self._deliver, event)

    def advanced(self) -> None:
        """Wake a waiting `feed`."""
        if self._is_waiting:
            self._is_waiting = False
            self._call(self._room.set)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            logger.debug("the event loop has ended")

    def _deliver(self, event: Event | MmsError) -> None:
        if isinstance(event, MmsError) or _is_last(event):
            self._end(event)
        else:
            self._events.put_nowait(event)


def _is_last(event: Event) -> bool:
    return isinstance(event, Endpoint) and event.reason == "end"
