"""Containers that arrive over a socket: decoded in a thread as they come."""

import asyncio
import contextlib
import io
import threading
from collections.abc import Callable

from mms_engine.audio import AudioLimits
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.read import AudioReader
from mms_engine.serve.live.stream import LiveStream
from mms_engine.serve.slots import FairSlots
from mms_engine.types import Float32Array

_PENDING_BYTES = 1 << 20
"""Undecoded bytes beyond which `feed` waits."""
_LIMITS = AudioLimits(max_seconds=float("inf"), max_bytes=1 << 62)
"""A live stream has no end; nothing of it is kept."""


class ContainerFeed:
    """Decoder between a socket and a stream. Its methods run on the event loop."""

    def __init__(self, stream: LiveStream, slots: FairSlots, client: str) -> None:
        """Begin to decode, in a thread of `slots`."""
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._pipe = _Pipe(self._wake)
        self._room = asyncio.Event()
        self._work = asyncio.ensure_future(slots.run(client, self._decode))
        self._work.add_done_callback(lambda _: self._room.set())

    async def feed(self, content: bytes) -> None:
        """Decode bytes; wait while too many are pending.

        Raises:
            AudioError: the container cannot be decoded.
            MmsError: as for `LiveStream.feed`.
        """
        self._pipe.put(content)
        while self._pipe.size > _PENDING_BYTES and not self._work.done():
            self._room.clear()
            await self._room.wait()
        if self._work.done():
            await self._work

    async def finish(self) -> None:
        """Decode the rest; errors as for `feed`."""
        self._pipe.end()
        await asyncio.shield(self._work)

    def cancel(self) -> None:
        """End the thread."""
        self._pipe.end()
        self._work.add_done_callback(lambda work: work.cancelled() or work.exception())

    # In the thread:

    def _decode(self) -> None:
        reader = AudioReader(self._pipe, ReadOptions(limits=_LIMITS), is_pipe=True)  # type: ignore[arg-type]
        for samples in reader:
            self._feed(samples)

    def _feed(self, samples: Float32Array) -> None:
        asyncio.run_coroutine_threadsafe(self._stream.feed(samples), self._loop).result()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._room.set)


class _Pipe(io.RawIOBase):
    """Bytes from the event loop, read in a thread."""

    name = "the stream"

    def __init__(self, taken: Callable[[], None]) -> None:
        self._content = bytearray()
        self._changed = threading.Condition()
        self._is_ended = False
        self._taken = taken

    @property
    def size(self) -> int:
        """Bytes that were not read."""
        return len(self._content)

    def put(self, content: bytes) -> None:
        """Append bytes."""
        with self._changed:
            self._content += content
            self._changed.notify()

    def end(self) -> None:
        """End the stream behind what was put."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes as soon as there are any; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._content or self._is_ended)
            count = len(self._content) if size < 0 else size
            found = bytes(self._content[:count])
            del self._content[:count]
        self._taken()
        return found
