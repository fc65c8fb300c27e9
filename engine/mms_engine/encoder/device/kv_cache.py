"""KV caches of streams in device memory."""

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
from mms_engine.cuda.streams import CudaStream
from mms_engine.errors import BackendError

logger = logging.getLogger(__name__)

OnStream = Callable[[str], AbstractContextManager[None]]
"""Locks the CUDA stream for the calling thread; the argument names the operation for errors."""


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Sizes of a KV cache."""

    outer: tuple[int, ...]
    """Layers, keys and values, heads."""
    slots: int
    inner: int
    """Values of a head."""
    staged: int
    """Maximum frames that a step adds."""

    @property
    def rows(self) -> int:
        """R: rows of the ring, each with all slots."""
        return prod(self.outer)


class DeviceKvCache:
    """Keys and values of a stream: a ring buffer, and staging memory for a step's update.

    A step writes only the staging memory, so that it can be repeated; `write` copies it into the
    ring. All copies are ordered on the CUDA stream of the runs.
    """

    def __init__(
        self, caches: "DeviceKvCaches", key: int, memory: DeviceArray, sizes: CacheShape
    ) -> None:
        """Use part of an allocation; see `DeviceKvCaches.open`."""
        self.shape: tuple[int, ...] = (*sizes.outer, sizes.slots, sizes.inner)
        self.dtype: np.dtype[Any] = memory.dtype
        self._caches = caches
        self._key = key
        self._inner = sizes.inner
        self._ring = memory.view((sizes.rows, sizes.slots * sizes.inner))
        staging = (sizes.rows * sizes.staged * sizes.inner,)
        self._staging = memory.view(staging, offset=self._ring.nbytes)

    def copy_to(self, target: DeviceArray, filled: int) -> None:
        """Enqueue a copy of the first slots into `target`, followed by zeros.

        Args:
            target: A row of the input `cache`, `[..., kept, n]`.
            filled: Number of slots to copy.
        """
        lines = target.view((self._ring.shape[0], target.shape[-2] * self._inner))
        stream = self._caches.stream
        if filled < target.shape[-2]:  # masked values are multiplied, so they must be finite
            stream.clear(target)
        stream.copy_columns(lines, 0, self._ring, 0, filled * self._inner)

    def stage(self, update: DeviceArray, kept: slice) -> DeviceArray:
        """Enqueue a copy of a step's update into the staging memory, and return that memory.

        Args:
            update: A row of the output `update`, `[..., frames, n]`.
            kept: Frames to copy.
        """
        rows, count = self._ring.shape[0], (kept.stop - kept.start) * self._inner
        lines = update.view((rows, update.shape[-2] * self._inner))
        staged = self._staging.view((rows, count))
        self._caches.stream.copy_columns(staged, 0, lines, kept.start * self._inner, count)
        return staged

    def write(self, update: DeviceArray, at: int) -> None:
        """Write what `stage` returned into the slots from `at` on; see `KvCache.write`."""
        start, count = at * self._inner, update.shape[1]
        first = min(count, self._ring.shape[1] - start)
        stream = self._caches.stream
        with self._caches.on_stream("writing the KV cache of a stream"):
            stream.copy_columns(self._ring, start, update, 0, first)
            stream.copy_columns(self._ring, 0, update, first, count - first)

    def read(self, filled: int) -> Array:
        """Return the first slots in host memory."""
        host = np.empty(self.shape, self.dtype)
        with self._caches.on_stream("reading the KV cache of a stream"):
            self._caches.stream.download(host, self._ring)
            self._caches.stream.synchronize()
        return host[..., :filled, :]

    def load(self, content: Array) -> None:
        """Write content into the first slots."""
        host = np.zeros(self.shape, self.dtype)
        host[..., : content.shape[-2], :] = content
        with self._caches.on_stream("restoring the KV cache of a stream"):
            self._caches.stream.upload(self._ring, host)
            self._caches.stream.synchronize()

    def release(self) -> None:
        """Free its memory after the runs that use it."""
        self._caches.release(self._key)


class DeviceKvCaches:
    """Allocator of the KV caches of one encoder."""

    def __init__(self, stream: CudaStream, on_stream: OnStream) -> None:
        """Start without caches.

        Args:
            stream: CUDA stream of the runs.
            on_stream: Context manager that locks it.
        """
        self.stream = stream
        self.on_stream = on_stream
        self._keys = itertools.count()
        self._alive: dict[int, DeviceArray] = {}
        self._dropped: collections.deque[int] = collections.deque()
        """Caches that were collected; the garbage collector must not call the driver."""

    def open(self, sizes: CacheShape, dtype: "np.dtype[Any]") -> DeviceKvCache:
        """Allocate the cache of a stream.

        Raises:
            DeviceMemoryError: the device has no room.
        """
        values = sizes.rows * (sizes.slots + sizes.staged) * sizes.inner
        with self.on_stream("allocating the KV cache of a stream"):
            self.sweep()
            memory = DeviceArray.empty(self.stream.device, (values,), dtype)
            key = next(self._keys)
            self._alive[key] = memory
        cache = DeviceKvCache(self, key, memory, sizes)
        weakref.finalize(cache, self._dropped.append, key).atexit = False
        return cache

    def release(self, key: int) -> None:
        """Free a cache, once; do nothing if the device is lost."""
        try:
            with self.on_stream("freeing the KV cache of a stream"):
                self._free(key)
        except BackendError as error:
            logger.debug("the KV cache of a stream was not freed: %s", error)

    def sweep(self) -> None:
        """Free caches that were garbage collected; the CUDA stream is locked."""
        with contextlib.suppress(IndexError):
            while True:
                self._free(self._dropped.popleft())

    def free(self) -> None:
        """Free all caches; the CUDA stream is locked."""
        for key in list(self._alive):
            self._free(key)

    def _free(self, key: int) -> None:
        memory = self._alive.pop(key, None)
        if memory is not None:
            self.stream.synchronize()
            memory.free()
