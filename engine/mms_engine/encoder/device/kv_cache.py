"""KV caches of streams in device memory."""

import collections
import contextlib
import itertools
import logging
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mms_engine.backends.session import Array, storage_dtype
from mms_engine.bundle.kv_cache import CacheTensors, update_name
from mms_engine.bundle.manifest import Tensor
from mms_engine.cuda.layout import ALIGNMENT
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.cuda.workspace import Workspace
from mms_engine.errors import BackendError

logger = logging.getLogger(__name__)

OnStream = Callable[[str], AbstractContextManager[None]]
"""Locks the CUDA stream for the calling thread; the argument names the operation for errors."""


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Sizes of a KV cache."""

    outer: tuple[int, int, int]
    """Layers, keys and values, heads."""
    slots: int
    inner: int
    """Values of a head."""
    staged: int
    """Maximum frames that a step adds, of this or of another stream of these sizes."""

    @property
    def parts(self) -> int:
        """2 L: keys and values of every layer."""
        return prod(self.outer[:2])

    @property
    def heads(self) -> int:
        """Heads of a layer."""
        return self.outer[2]

    @property
    def frame_values(self) -> int:
        """Values of a frame in all parts."""
        return self.parts * self.heads * self.inner


class CacheBuffers:
    """Keys and values of a batch, inputs or outputs of a plan: 2 L parts `[B, heads, frames, n]`.

    Those of one stream have the same place in each part, so one copy transfers all of them.
    """

    def __init__(self, names: Sequence[str], tensors: CacheTensors) -> None:
        """Allocate nothing yet.

        Args:
            names: Names of the parts in the plan, in the order of `cache_names`.
            tensors: Their sizes.
        """
        self._names = names
        self._heads, self._inner = tensors.heads, tensors.size
        self._dtype = storage_dtype(tensors.dtype)

    def take(
        self, workspace: Workspace, batch: int, frames: int
    ) -> tuple[DeviceArray, dict[str, DeviceArray]]:
        """Return uninitialised memory of a run, a line for each part, and the parts by name."""
        shape = (batch, self._heads, frames, self._inner)
        step = ALIGNMENT // self._dtype.itemsize
        aligned = -(-prod(shape) // step) * step
        lines = workspace.device(self._names[0], (len(self._names), aligned), self._dtype)
        parts = {name: lines.row(part).view(shape) for part, name in enumerate(self._names)}
        return lines, parts


def cache_buffers(inputs: Iterable[Tensor]) -> tuple[CacheBuffers, CacheBuffers]:
    """Return the buffers of a plan's KV cache, and of the new frames that it returns.

    Raises:
        BundleError: the plan is that of an earlier release.
    """
    tensors = CacheTensors.of(inputs)
    new = [update_name(name) for name in tensors.names]
    return CacheBuffers(tensors.names, tensors), CacheBuffers(new, tensors)


class DeviceKvCache:
    """Keys and values of a stream: a ring buffer, and staging memory for a step's update.

    A step writes only the staging memory, so that it can be repeated; `write` copies it into the
    ring. All copies are ordered on the CUDA stream of the runs.
    """

    def __init__(
        self, caches: "DeviceKvCaches", key: int, memory: DeviceArray, sizes: CacheShape
    ) -> None:
        """Use part of an allocation; see `DeviceKvCaches.open`."""
        self.sizes = sizes
        self.shape: tuple[int, ...] = (*sizes.outer, sizes.slots, sizes.inner)
        self.dtype: np.dtype[Any] = memory.dtype
        self._caches = caches
        self._key = key
        self._ring = memory.view((sizes.parts, sizes.heads * sizes.slots * sizes.inner))
        staging = (sizes.parts * sizes.heads * sizes.staged * sizes.inner,)
        self._staging = memory.view(staging, offset=self._ring.nbytes)

    def copy_to(self, lines: DeviceArray, row: int) -> None:
        """Enqueue a copy of all slots into a row of a run's inputs, as `CacheBuffers.take` returns.

        Slots that were never written hold zeros, and others old frames: they are masked, but
        multiplied, so they must be finite.
        """
        width = self._ring.shape[1]
        self._caches.stream.copy_columns(lines, row * width, self._ring, 0, width)

    def stage(self, lines: DeviceArray, row: int, frames: int, kept: slice) -> "StagedUpdate":
        """Enqueue a copy of a step's new frames into the staging memory.

        Args:
            lines: Outputs of the run, as `CacheBuffers.take` returns.
            row: Row of the stream.
            frames: Frames of the outputs, at most `CacheShape.staged`.
            kept: Those of them to write to the ring.
        """
        width = self.sizes.heads * frames * self.sizes.inner
        staged = self._staging.view((self.sizes.parts, width))
        self._caches.stream.copy_columns(staged, 0, lines, row * width, width)
        return StagedUpdate(staged, frames, kept)

    def write(self, update: "StagedUpdate", at: int) -> None:
        """Write what `stage` returned into the slots from `at` on; see `KvCache.write`."""
        inner, lines = self.sizes.inner, self.sizes.parts * self.sizes.heads
        ring = self._ring.view((lines, self.sizes.slots * inner))
        staged = update.memory.view((lines, update.frames * inner))
        from_, count = update.kept.start, update.kept.stop - update.kept.start
        first = min(count, self.sizes.slots - at)
        stream = self._caches.stream
        with self._caches.on_stream("writing the KV cache of a stream"):
            stream.copy_columns(ring, at * inner, staged, from_ * inner, first * inner)
            rest = (count - first) * inner
            stream.copy_columns(ring, 0, staged, (from_ + first) * inner, rest)

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


@dataclass(frozen=True, slots=True, eq=False)
class StagedUpdate:
    """New frames of a step in the staging memory of a stream."""

    memory: DeviceArray
    """Shape `[2 L, heads * frames * n]`."""
    frames: int
    kept: slice
    """Frames to write to the ring."""


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
        values = sizes.frame_values * (sizes.slots + sizes.staged)
        with self.on_stream("allocating the KV cache of a stream"):
            self.sweep()
            memory = DeviceArray.empty(self.stream.device, (values,), dtype)
            self.stream.clear(memory)
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
