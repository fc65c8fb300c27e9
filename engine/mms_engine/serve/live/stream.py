"""Live stream of one client: from the event loop to the pool's threads and back."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mms_engine.asr.pool import PooledStream
from mms_engine.asr.streaming import Endpoint, Event, Partial, StreamOptions
from mms_engine.errors import MmsError, StreamError

logger = logging.getLogger(__name__)

PENDING_SECONDS = 15.0
"""Pending audio of a stream beyond which `feed` waits."""
_UNREAD_EVENTS = 200
"""Unread events at which a stream fails."""
_PIECE_BYTES = 1 << 15
_PIECE_SAMPLES = 1 << 14


@dataclass(frozen=True, slots=True)
class SavedStream:
    """State of a stream, for `LiveStreams.restore` in this or another process."""

    state: bytes
    position: int
    """`LiveStream.position` that it belongs to."""
    settled: int
    """Events before it that were read, without partial ones."""
    unread: tuple[Event, ...] = ()
    """Later events before it, without partial ones."""


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
        self._events: deque[Event | MmsError | None] = deque()
        self._readable = asyncio.Event()
        self.position = 0
        """Bytes of audio fed; samples, where it came as arrays."""
        self.settled = 0
        """Events read, without partial ones."""
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
    def options(self) -> StreamOptions:
        """Options of the stream."""
        return self._opened.options

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
            piece = pcm[start : start + size]
            try:
                stream.feed(piece, sample_rate)
                self.position += len(piece)
            except StreamError:
                if stream.error is not None:
                    raise stream.error from None
                raise

    async def _has_room(self) -> None:
        stream = self._opened
        while stream.pending_seconds > PENDING_SECONDS and self._leave is not None:
            self._room.clear()
            self._is_waiting = True
            if stream.pending_seconds > PENDING_SECONDS:  # else it advanced before the flag
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

    async def save(self) -> SavedStream:
        """Return the state of the stream behind the audio fed so far.

        Raises:
            StreamError: the stream has ended.
            MmsError: why the stream failed.
        """
        saving: asyncio.Future[SavedStream] = self._loop.create_future()
        position = self.position

        def finish(state: bytes | MmsError) -> None:
            if saving.done():
                return
            if isinstance(state, MmsError):
                saving.set_exception(state)
                return
            unread = [o for o in self._events if o and not isinstance(o, MmsError | Partial)]
            saving.set_result(SavedStream(state, position, self.settled, tuple(unread)))

        self._opened.save(lambda state: self._call(finish, state))
        return await saving

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
        while True:
            while not self._events:
                if self._leave is None:
                    return
                self._readable.clear()
                await self._readable.wait()
            event = self._events.popleft()
            if event is None:
                return
            if isinstance(event, MmsError):
                raise event
            with self._lock:
                self._unread -= 1
            if not isinstance(event, Partial):
                self.settled += 1
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
        self._append(last)
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
            self._append(event)

    def _append(self, event: Event | MmsError | None) -> None:
        self._events.append(event)
        self._readable.set()


def _is_last(event: Event) -> bool:
    return isinstance(event, Endpoint) and event.reason == "end"
