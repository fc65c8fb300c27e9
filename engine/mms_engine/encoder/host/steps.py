"""Streaming steps on graphs of the host, with KV caches in host memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mms_engine.backends.session import Array, Constant, Session, storage_dtype
from mms_engine.bank.adapters import AdapterBank
from mms_engine.bank.host import HostBank
from mms_engine.bundle.manifest import find_tensor
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
    """Keys and values in host memory; see `KvCache`."""

    def __init__(self, empty: Array) -> None:
        self.array = empty
        self.shape: tuple[int, ...] = empty.shape
        self.dtype: np.dtype[Any] = empty.dtype

    def write(self, update: Array, at: int) -> None:
        """Write an update's frames into the slots from `at` on; see `KvCache.write`."""
        slots = (at + np.arange(update.shape[-2])) % self.shape[-2]
        self.array[..., slots, :] = update

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
        tensor = find_tensor(self._graph("step").inputs, "cache")
        shape = [max(1, sizes.left) if isinstance(n, str) else n for n in tensor.shape[1:]]
        return HostKvCache(np.zeros(shape, storage_dtype(tensor.dtype)))

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
        feeds = self._inputs(rows)
        first = 0
        if any(tensor.name == "keep" for tensor in session.inputs):  # which bundles once lacked
            kept = kept_frames(rows)
            feeds["keep"], first = np.arange(kept.start, kept.stop), kept.start
        with self._bank.acquire(languages) as residents:
            held = [residents[language] for language in languages]
            feeds.update(self._bank.storage.constants())
            feeds["slot"] = np.array([resident.slot for resident in held], np.int64)
            outputs = session.run(feeds)
        logits, update = outputs["logits"], outputs["update"]
        encoded = []
        for index, (row, own) in enumerate(zip(rows, held, strict=True)):
            scores = logits[index, : row.frames, : len(own.info)]
            own_kept = row.view.kept if row.view else slice(first, first)
            part = slice(own_kept.start - first, own_kept.stop - first)
            encoded.append(StepOutput(np.ascontiguousarray(scores), update[index, ..., part, :]))
        return encoded

    def _graph(self, name: str) -> Session:
        return self._graphs.session(name, self._threads)

    def _inputs(self, rows: Sequence[StepInput]) -> dict[str, Array | Constant]:
        """Return the graph's inputs for rows: features, lengths and stacked caches."""
        before = self._architecture.num_conv_pos_embeddings // 2
        lengths = [row.frames for row in rows]
        size = rows[0].features.shape[1]
        features = np.empty((len(rows), before + max(lengths), size), np.float32)
        for target, row in zip(features, rows, strict=True):
            row.write(target, before)
        views = [row.view for row in rows if row.view is not None]
        filled = [view.filled for view in views]
        return {
            "features": features,
            "history": np.array([row.history for row in rows], np.int64),
            "lengths": np.array(lengths, np.int64),
            "cache": _stack(views, max([1, *filled])),
            "filled": np.array(filled, np.int64),
        }


def _stack(views: Sequence[CacheView], slots: int) -> Array:
    """Return the filled part of several caches, `[B, ..., slots, n]`, zeros behind it."""
    *outer, _, inner = views[0].cache.shape
    stacked = np.empty((len(views), *outer, slots, inner), views[0].cache.dtype)
    for row, view in zip(stacked, views, strict=True):
        row[..., : view.filled, :] = view.cache.read(view.filled)
        row[..., view.filled :, :] = 0
    return stacked
