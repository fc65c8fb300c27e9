"""Keys and values of streams in device memory."""

import collections
import contextlib
import itertools
import logging
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mms_engine.backends.session import Array
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import Stream
from mms_engine.errors import BackendError

logger = logging.getLogger(__name__)

Working = Callable[[str], AbstractContextManager[None]]
"""Makes the run's stream this thread's own; what is done there is the argument."""


@dataclass(frozen=True, slots=True)
class RingShape:
    """Sizes of a stream's memory."""

    outer: tuple[int, ...]
    """Layers, keys and values, heads."""
    places: int
    inner: int
    """Values of a head."""
    staged: int
    """Frames that a step leaves at most."""

    @property
    def rows(self) -> int:
        """Lines, of all places each."""
        return prod(self.outer)


class DeviceRing:
    """A stream's memory: a ring, and room for the keys and values that a step leaves.

    A step changes only the latter, so that it may be run again; `keep` puts them into the ring. All
    is done on the stream of the runs, in order.
    """

    def __init__(
        self, memories: "StreamMemories", key: int, memory: DeviceArray, sizes: RingShape
    ) -> None:
        """Callers take `StreamMemories.open`."""
        self.shape: tuple[int, ...] = (*sizes.outer, sizes.places, sizes.inner)
        self.dtype: np.dtype[Any] = memory.dtype
        self._memories = memories
        self._key = key
        self._inner = sizes.inner
        self._ring = memory.view((sizes.rows, sizes.places * sizes.inner))
        staging = (sizes.rows * sizes.staged * sizes.inner,)
        self._staging = memory.view(staging, offset=self._ring.nbytes)

    def load(self, target: DeviceArray, filled: int) -> None:
        """Give the stream a copy of the first places to those of `target`, zeros behind them.

        Args:
            target: A row of the input `cache`, `[..., kept, n]`.
            filled: Places.
        """
        lines = target.view((self._ring.shape[0], target.shape[-2] * self._inner))
        stream = self._memories.stream
        if filled < target.shape[-2]:  # what is masked is multiplied too: it must be finite
            stream.clear(target)
        stream.copy_columns(lines, 0, self._ring, 0, filled * self._inner)

    def stage(self, update: DeviceArray, kept: slice) -> DeviceArray:
        """Give the stream a copy of what a step leaves, and return where it goes.

        Args:
            update: A row of the output `update`, `[..., frames, n]`.
            kept: Frames of it.
        """
        rows, count = self._ring.shape[0], (kept.stop - kept.start) * self._inner
        lines = update.view((rows, update.shape[-2] * self._inner))
        staged = self._staging.view((rows, count))
        self._memories.stream.copy_columns(staged, 0, lines, kept.start * self._inner, count)
        return staged

    def keep(self, update: DeviceArray, at: int) -> None:
        """Put what `stage` returned into the places from `at` on; see `Ring.keep`."""
        start, count = at * self._inner, update.shape[1]
        first = min(count, self._ring.shape[1] - start)
        stream = self._memories.stream
        with self._memories.working("keeping a stream's keys and values"):
            stream.copy_columns(self._ring, start, update, 0, first)
            stream.copy_columns(self._ring, 0, update, first, count - first)

    def content(self, filled: int) -> Array:
        """Return the first places in host memory."""
        host = np.empty(self.shape, self.dtype)
        with self._memories.working("reading a stream's keys and values"):
            self._memories.stream.download(host, self._ring)
            self._memories.stream.synchronize()
        return host[..., :filled, :]

    def fill(self, content: Array) -> None:
        """Put content into the first places."""
        host = np.zeros(self.shape, self.dtype)
        host[..., : content.shape[-2], :] = content
        with self._memories.working("restoring a stream's keys and values"):
            self._memories.stream.upload(self._ring, host)
            self._memories.stream.synchronize()

    def release(self) -> None:
        """Give its memory back, after the runs that use it."""
        self._memories.release(self._key)


class StreamMemories:
    """Makes the memories of streams, and knows those that are there."""

    def __init__(self, stream: Stream, working: Working) -> None:
        """Begin with none.

        Args:
            stream: Of the runs.
            working: Makes it this thread's own.
        """
        self.stream = stream
        self.working = working
        self._keys = itertools.count()
        self._alive: dict[int, DeviceArray] = {}
        self._dropped: collections.deque[int] = collections.deque()
        """Of rings that nobody has any more: a collection must not call the driver."""

    def open(self, sizes: RingShape, dtype: str) -> DeviceRing:
        """Make room for a stream.

        Raises:
            DeviceMemoryError: there is none.
        """
        values = sizes.rows * (sizes.places + sizes.staged) * sizes.inner
        with self.working("making room for a stream"):
            self.sweep()
            memory = DeviceArray.empty(self.stream.device, (values,), dtype)
            key = next(self._keys)
            self._alive[key] = memory
        ring = DeviceRing(self, key, memory, sizes)
        weakref.finalize(ring, self._dropped.append, key).atexit = False
        return ring

    def release(self, key: int) -> None:
        """Free a memory; a second time there is none. A lost device has nothing to free."""
        try:
            with self.working("giving back a stream's memory"):
                self._free(key)
        except BackendError as error:
            logger.debug("the memory of a stream is not given back: %s", error)

    def sweep(self) -> None:
        """Free what nobody has any more; the stream is this thread's own."""
        with contextlib.suppress(IndexError):
            while True:
                self._free(self._dropped.popleft())

    def free(self) -> None:
        """Free all; the stream is this thread's own."""
        for key in list(self._alive):
            self._free(key)

    def _free(self, key: int) -> None:
        memory = self._alive.pop(key, None)
        if memory is not None:
            self.stream.synchronize()
            memory.free()
