"""What runs steps of streams: the interface, and graphs on arrays of the host."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from mms_engine.backends.session import Array, Constant, Session
from mms_engine.bundle.schema import Architecture, Stage
from mms_engine.encoder import HostEncoder
from mms_engine.streaming.contexts import Encoded, EncoderRow, Memory, Ring, Sizes
from mms_engine.types import Float32Array

_FRONTEND_ROWS = 8
"""Streams whose samples run through the convolutions at once: more would leave the cache."""
_ENCODER_ROWS = {"cpu": 8, "cuda": 64}
"""Rows of one run. On a CPU more leave the cache: measured on the demo, CPU time of a row of
`balanced`, 5.2 ms at 4, 5.3 at 8, 5.5 at 16, 7.0 at 64."""


class StreamRunner(Protocol):
    """Runs steps of any streams together. Methods may be called from several threads at once."""

    @property
    def rows(self) -> int:
        """Rows that should run together at most."""
        ...

    def ring(self, sizes: Sizes) -> Ring:
        """Return the empty memory of a new stream, `left` places.

        Raises:
            BundleError, BackendError: there is no graph, or no plan, that takes it.
            DeviceMemoryError: the device has no room.
        """
        ...

    def features(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features `[T, F]` of each of some samples `[N]`."""
        ...

    def encode(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        """Run rows without a memory. It changes no stream."""
        ...

    def encode_cached(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        """Run rows with a memory. It changes no ring; what a row left is valid until its next."""
        ...


class HostRing:
    """Keys and values in host memory."""

    def __init__(self, empty: Array) -> None:
        self.array = empty
        self.shape: tuple[int, ...] = empty.shape
        self.dtype: np.dtype[Any] = empty.dtype

    def keep(self, update: Array, at: int) -> None:
        """Put an update's frames into the places from `at` on; see `Ring.keep`."""
        places = (at + np.arange(update.shape[-2])) % self.shape[-2]
        self.array[..., places, :] = update

    def content(self, filled: int) -> Array:
        """Return the first places."""
        return self.array[..., :filled, :]

    def fill(self, content: Array) -> None:
        """Put content into the first places."""
        self.array[..., : content.shape[-2], :] = content

    def release(self) -> None:
        """Do nothing: memory goes with the object."""


class HostRunner:
    """Streams on the graphs of a host encoder."""

    def __init__(
        self, host: HostEncoder, architecture: Architecture, threads: int | None = None
    ) -> None:
        """Use an encoder's graphs.

        Args:
            host: The encoder.
            architecture: Of the bundle.
            threads: Of one run on a CPU; `None` for those of the recogniser.
        """
        self._host = host
        self._architecture = architecture
        self._threads = threads

    @property
    def rows(self) -> int:
        """Rows that should run together at most."""
        return _ENCODER_ROWS[self._host.device]

    def ring(self, sizes: Sizes) -> HostRing:
        """Return the memory of a new stream; see `StreamRunner.ring`."""
        inputs = self._graph("cached").inputs
        cache = next(tensor for tensor in inputs if tensor.name == "cache")
        dtype = np.dtype(np.uint16 if cache.dtype == "bfloat16" else cache.dtype)
        shape = [max(1, sizes.left) if isinstance(n, str) else n for n in cache.shape[1:]]
        return HostRing(np.zeros(shape, dtype))

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

    def encode(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        """Run rows without a memory."""
        emission = self._host.encode([row.features for row in rows], languages)
        return [Encoded(logits) for logits in emission.rows()]

    def encode_cached(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        """Run rows with a memory."""
        session = self._graph("cached")
        feeds = self._memories(rows)
        with self._host.bank.acquire(languages) as residents:
            held = [residents[language] for language in languages]
            feeds.update(self._host.bank.rows.constants())
            feeds["slot"] = np.array([resident.slot for resident in held], np.int64)
            outputs = session.run(feeds)
        logits, update = outputs["logits"], outputs["update"]
        encoded = []
        for index, (row, own) in enumerate(zip(rows, held, strict=True)):
            scores = logits[index, : row.frames, : len(own.vocabulary)]
            kept = row.memory.kept if row.memory else slice(0)
            encoded.append(Encoded(np.ascontiguousarray(scores), update[index, ..., kept, :]))
        return encoded

    def _graph(self, stage: Stage) -> Session:
        return self._host.graph(stage, self._threads)

    def _memories(self, rows: Sequence[EncoderRow]) -> dict[str, Array | Constant]:
        """Return the rows' features and memories as the graph takes them."""
        before = self._architecture.num_conv_pos_embeddings // 2
        lengths = [row.frames for row in rows]
        size = rows[0].features.shape[1]
        features = np.empty((len(rows), before + max(lengths), size), np.float32)
        for target, row in zip(features, rows, strict=True):
            row.write(target, before)
        memories = [row.memory for row in rows if row.memory is not None]
        filled = [memory.filled for memory in memories]
        return {
            "features": features,
            "history": np.array([row.history for row in rows], np.int64),
            "lengths": np.array(lengths, np.int64),
            "cache": _stack(memories, max([1, *filled])),
            "filled": np.array(filled, np.int64),
        }


def _stack(memories: Sequence[Memory], places: int) -> Array:
    """Return the filled part of some rings, `[B, ..., places, n]`."""
    *outer, _, inner = memories[0].ring.shape
    stacked = np.empty((len(memories), *outer, places, inner), memories[0].ring.dtype)
    for row, memory in zip(stacked, memories, strict=True):
        row[..., : memory.filled, :] = memory.ring.content(memory.filled)
        row[..., memory.filled :, :] = 0
    return stacked
