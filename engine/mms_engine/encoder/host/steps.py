"""Streaming steps on graphs of the host, with KV caches in host memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mms_engine.backends.session import Array, Constant, Session, storage_dtype
from mms_engine.bank.adapters import AdapterBank
from mms_engine.bank.host import HostBank
from mms_engine.bundle.kv_cache import CacheTensors, update_name
from mms_engine.encoder.host.graphs import HostGraphs, run_encoder
from mms_engine.encoder.interface import (
    CacheView,
    ContextSizes,
    StepInput,
    StepOutput,
    kept_frames,
)
from mms_engine.errors import BackendError
from mms_engine.types import Float32Array

_FRONTEND_ROWS = 8
"""Rows of one frontend run: more would not fit in the processor's cache."""
_ENCODER_ROWS = {"cpu": 8, "cuda": 64}
"""Rows of one run, limited on a CPU by its cache: a `balanced` row of the demo takes 5.2 ms of CPU
time in runs of 4, 5.3 at 8, 5.5 at 16, 7.0 at 64."""


class HostKvCache:
    """Keys and values in host memory, `[L, 2, heads, slots, n]`; see `KvCache`."""

    def __init__(self, empty: Array) -> None:
        self.array = empty
        self.shape: tuple[int, ...] = empty.shape
        self.dtype: np.dtype[Any] = empty.dtype

    def write(self, update: Sequence[Array], at: int) -> None:
        """Write an update's frames into the slots from `at` on; see `KvCache.write`.

        Args:
            update: Keys `[heads, frames, n]` of the first layer, its values, those of the next.
            at: First slot.
        """
        slots = (at + np.arange(update[0].shape[-2])) % self.shape[-2]
        rings = self.array.reshape(-1, *self.shape[2:])
        for ring, own in zip(rings, update, strict=True):
            ring[:, slots] = own

    def read(self, filled: int) -> Array:
        """Return the first slots."""
        return self.array[..., :filled, :]

    def load(self, content: Array) -> None:
        """Write content into the first slots."""
        self.array[..., : content.shape[-2], :] = content

    def release(self) -> None:
        """Free the memory, also where a circle of references keeps the object."""
        self.array = np.zeros(0, self.dtype)


class HostSteps:
    """Streaming steps on a bundle's graphs; see `StepEncoder`."""

    def __init__(
        self, graphs: HostGraphs, bank: AdapterBank[HostBank] | None, threads: int | None
    ) -> None:
        """Use graphs that an encoder owns; `bank` and `threads` as for `Encoder`."""
        self.rows = _ENCODER_ROWS[graphs.device]
        self._graphs = graphs
        self._bank = bank
        self._architecture = graphs.architecture
        self._threads = threads

    def cache(self, sizes: ContextSizes) -> HostKvCache:
        """Return the KV cache of a new stream; see `StepEncoder.cache`."""
        tensors = CacheTensors.of(self._graph("step").inputs)
        shape = (*tensors.outer, max(1, sizes.left), tensors.size)
        return HostKvCache(np.zeros(shape, storage_dtype(tensors.dtype)))

    def features(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features of samples; equal lengths run together."""
        frontend = self._graph("frontend")
        empty = np.zeros((0, self._architecture.feature_size), np.float32)
        features = [empty] * len(samples)
        by_length: dict[int, list[int]] = {}
        for index, own in enumerate(samples):
            by_length.setdefault(len(own), []).append(index)
        for length, indices in by_length.items():
            for start in range(0, len(indices) if length else 0, _FRONTEND_ROWS):
                part = indices[start : start + _FRONTEND_ROWS]
                feeds = {"audio": np.stack([samples[i] for i in part])}
                for index, rows in zip(part, frontend.run(feeds)["features"], strict=True):
                    features[index] = rows
        return features

    def encode(self, rows: Sequence[StepInput], languages: Sequence[str]) -> list[StepOutput]:
        """Run rows without a cache."""
        features = [row.features for row in rows]
        emission = run_encoder(self._graph("encoder"), self._bank, features, languages)
        return [StepOutput(logits) for logits in emission.rows()]

    def encode_cached(
        self, rows: Sequence[StepInput], languages: Sequence[str]
    ) -> list[StepOutput]:
        """Run rows with a cache."""
        if self._bank is None:
            raise BackendError("a model without adapters has no steps with a KV cache")
        session = self._graph("step")
        tensors = CacheTensors.of(session.inputs)
        kept = kept_frames(rows)
        feeds = self._inputs(rows)
        feeds["keep"] = np.arange(kept.start, kept.stop)
        caches = _stack([row.view for row in rows if row.view])
        feeds |= zip(tensors.names, caches, strict=True)
        with self._bank.acquire(languages) as residents:
            held = [residents[language] for language in languages]
            feeds.update(self._bank.storage.inputs(held))
            outputs = session.run(feeds)
        logits = outputs["logits"]
        updates = [outputs[update_name(name)] for name in tensors.names]
        encoded = []
        for index, (row, own) in enumerate(zip(rows, held, strict=True)):
            scores = logits[index, : row.frames, : len(own.info)]
            own_kept = row.view.kept if row.view else slice(kept.start, kept.start)
            part = slice(own_kept.start - kept.start, own_kept.stop - kept.start)
            update = [one[index, :, part] for one in updates]
            encoded.append(StepOutput(np.ascontiguousarray(scores), update))
        return encoded

    def _graph(self, name: str) -> Session:
        return self._graphs.session(name, self._threads)

    def _inputs(self, rows: Sequence[StepInput]) -> dict[str, Array | Constant]:
        """Return the graph's inputs for rows, but for those of the KV cache."""
        before = self._architecture.num_conv_pos_embeddings // 2
        lengths = [row.frames for row in rows]
        size = rows[0].features.shape[1]
        features = np.empty((len(rows), before + max(lengths), size), np.float32)
        for target, row in zip(features, rows, strict=True):
            row.write(target, before)
        return {
            "features": features,
            "history": np.array([row.history for row in rows], np.int64),
            "lengths": np.array(lengths, np.int64),
            "filled": np.array([row.view.filled for row in rows if row.view], np.int64),
        }


def _stack(views: Sequence[CacheView]) -> Array:
    """Return the filled part of several caches, `[2 L, B, heads, slots, n]`, zeros behind it."""
    layers, kinds, heads, _, inner = views[0].cache.shape
    slots = max([1, *(view.filled for view in views)])
    parts = [view.cache.read(view.filled) for view in views]
    if len(parts) == 1 and parts[0].shape[-2] == slots:
        return parts[0].reshape(layers * kinds, 1, heads, slots, inner)
    stacked = np.empty((layers, kinds, len(parts), heads, slots, inner), parts[0].dtype)
    for index, part in enumerate(parts):
        row = stacked[:, :, index]
        row[..., : part.shape[-2], :] = part
        row[..., part.shape[-2] :, :] = 0
    return stacked.reshape(-1, *stacked.shape[2:])
