"""Streaming steps on the device: features come from the host, KV caches stay on the device."""

from collections.abc import Sequence

import numpy as np

from mms_engine.backends.session import storage_dtype
from mms_engine.bank.adapters import AdapterBank
from mms_engine.bank.device import DeviceBank
from mms_engine.bundle.kv_cache import CacheTensors
from mms_engine.encoder.device.kv_cache import CacheShape, DeviceKvCache, DeviceKvCaches, OnStream
from mms_engine.encoder.device.plans import DevicePlans
from mms_engine.encoder.device.slices import Slices
from mms_engine.encoder.device.step_batch import StepBatches, cache_of
from mms_engine.encoder.interface import ContextSizes, StepInput, StepOutput
from mms_engine.types import Float32Array

_ROWS = 64
_CACHE_BYTES = 1 << 30
"""Limit of a run's copies of KV caches: 16 streams of 5 s at 1B."""


class DeviceSteps:
    """Streaming steps on a bundle's plans; see `StepEncoder`."""

    def __init__(
        self, plans: DevicePlans, bank: AdapterBank[DeviceBank], on_stream: OnStream
    ) -> None:
        """Use plans and bank of an encoder; `on_stream` locks their CUDA stream."""
        self.rows = _ROWS
        self._slices = Slices.of(plans.session("frontend"), plans.geometry)
        self._session = plans.session(plans.encoder)
        self._bank = bank
        self._architecture = plans.architecture
        self._on_stream = on_stream
        self._before = plans.architecture.num_conv_pos_embeddings // 2
        """Frames before a step that its positional convolution reads."""
        self._caches = DeviceKvCaches(plans.stream, on_stream)
        with on_stream("preparing streaming steps"):
            self._batches = StepBatches(self._session, bank.storage, self._before)

    def cache(self, sizes: ContextSizes) -> DeviceKvCache:
        """Return the KV cache of a new stream; see `StepEncoder.cache`."""
        session = self._session
        tensors = CacheTensors.of(session.inputs)
        slots = max(1, sizes.left)
        # Reject sizes that the plan does not cover now, rather than in the middle of the stream.
        session.buckets.fit(
            {
                "batch": 1,
                "input_frames": self._before + sizes.chunk + sizes.right,
                "cache_slots": slots,
                "kept_frames": max(1, sizes.chunk),
            },
            rounded=("input_frames",),
            fine=True,
        )
        shape = CacheShape(tensors.outer, slots, tensors.size, staged=max(1, sizes.chunk))
        return self._caches.open(shape, storage_dtype(tensors.dtype))

    def features(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features of samples."""
        empty = np.zeros((0, self._architecture.feature_size), np.float32)
        found = [empty] * len(samples)
        given = [i for i, own in enumerate(samples) if len(own)]
        if given:
            with self._on_stream(f"running the frontend of {len(given)} streams"):
                made = self._slices.convolve([samples[i] for i in given])
            for index, own in zip(given, made, strict=True):
                found[index] = own
        return found

    def encode(self, rows: Sequence[StepInput], languages: Sequence[str]) -> list[StepOutput]:
        """Run rows without a cache."""
        frames = self._before + max(row.frames for row in rows)
        return self._grouped(rows, languages, self._most(input_frames=frames))

    def encode_cached(
        self, rows: Sequence[StepInput], languages: Sequence[str]
    ) -> list[StepOutput]:
        """Run rows with a cache; those whose caches have the same sizes run together."""
        by_sizes: dict[CacheShape, list[int]] = {}
        for index, row in enumerate(rows):
            by_sizes.setdefault(cache_of(row).sizes, []).append(index)
        found: dict[int, StepOutput] = {}
        for sizes, indices in by_sizes.items():
            own = [rows[i] for i in indices]
            frames = self._before + max(row.frames for row in own)
            copied = sizes.frame_values * sizes.slots * cache_of(own[0]).dtype.itemsize
            covered = self._most(input_frames=frames, cache_slots=sizes.slots)
            most = min(covered, _CACHE_BYTES // copied)
            made = self._grouped(own, [languages[i] for i in indices], most)
            found |= zip(indices, made, strict=True)
        return [found[index] for index in range(len(rows))]

    def _most(self, **sizes: int) -> int:
        return self._session.buckets.most("batch", **sizes)

    def _grouped(
        self,
        rows: Sequence[StepInput],
        languages: Sequence[str],
        most: int,
    ) -> list[StepOutput]:
        encoded: list[StepOutput] = []
        for start in range(0, len(rows), max(1, most)):
            part = slice(start, start + max(1, most))
            encoded += self._run(rows[part], languages[part])
        return encoded

    def _run(self, rows: Sequence[StepInput], languages: Sequence[str]) -> list[StepOutput]:
        """Run rows as one batch; the next one overwrites all but the staged updates."""
        doing = f"running {len(rows)} steps of streams"
        with self._bank.acquire(languages) as residents, self._on_stream(doing):
            self._caches.sweep()
            held = [residents[language] for language in languages]
            made = self._batches.run(rows, held)
        return [StepOutput(*one) for one in zip(*made, strict=True)]

    def close(self) -> None:
        """Free all memory; the CUDA stream is idle and locked."""
        self._caches.free()
        self._batches.free()
