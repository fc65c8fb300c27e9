"""Runs steps of any streams together: samples in, logits out."""

from collections.abc import Sequence

import numpy as np

from mms_engine.acoustic import AcousticModel
from mms_engine.backends.base import Array, Constant, Session
from mms_engine.bundle.schema import Stage
from mms_engine.encoder import HostEncoder
from mms_engine.errors import BackendError
from mms_engine.streaming.contexts import (
    CachedContext,
    Context,
    Encoded,
    EncoderRow,
    Memory,
    Sizes,
    WindowContext,
)
from mms_engine.streaming.growing import GrowingContext
from mms_engine.streaming.options import ContextOptions
from mms_engine.types import Float32Array

_FRONTEND_ROWS = 8
"""Streams whose samples run through the convolutions at once: more would leave the cache."""
_ENCODER_ROWS = {"cpu": 8, "cuda": 64}
"""Rows of one run. On a CPU more leave the cache: measured on the demo, CPU time of a row of
`balanced`, 5.2 ms at 4, 5.3 at 8, 5.5 at 16, 7.0 at 64."""


class StreamingModel:
    """An acoustic model as streams use it. Methods may be called from several threads at once."""

    def __init__(self, model: AcousticModel, threads: int | None = None) -> None:
        """Use a model.

        Args:
            model: Loaded.
            threads: Of one run on a CPU; `None` for those of the recogniser. Other than these,
                the graphs of streams are loaded once more.

        Raises:
            BackendError: its backend cannot run streams.
        """
        if not isinstance(model.encoder, HostEncoder):
            raise BackendError(
                "streams run on ONNX Runtime: choose --backend ort-cpu or ort-cuda (plans have no "
                "graph for them yet)"
            )
        self.acoustic = model
        self._host = model.encoder
        self._threads = threads

    @property
    def rows(self) -> int:
        """Rows that should run together at most."""
        return _ENCODER_ROWS[self._host.device]

    def with_threads(self, threads: int | None) -> "StreamingModel":
        """Return the same model, whose runs take so many threads."""
        return StreamingModel(self.acoustic, threads)

    def context(self, options: ContextOptions) -> Context:
        """Return the context of a new stream.

        Raises:
            BundleError: it needs the graph `cached`, and the bundle has none.
        """
        architecture = self.acoustic.bundle.manifest.architecture
        sizes = self._sizes(options)
        if options.kind == "window":
            return WindowContext(sizes, architecture.feature_size)
        if options.kind == "growing":
            return GrowingContext(sizes, architecture.feature_size)
        session = self._graph("cached")
        cache = next(tensor for tensor in session.inputs if tensor.name == "cache")
        dtype = np.dtype(np.uint16 if cache.dtype == "bfloat16" else cache.dtype)
        shape = [max(1, sizes.left) if isinstance(n, str) else n for n in cache.shape[1:]]
        history = architecture.num_conv_pos_embeddings // 2
        return CachedContext(sizes, architecture.feature_size, history, np.zeros(shape, dtype))

    def _sizes(self, options: ContextOptions) -> Sizes:
        seconds = self.acoustic.frame_seconds
        return Sizes(
            left=round(options.left_seconds / seconds),
            chunk=max(1, round(options.chunk_seconds / seconds)),
            right=round(options.right_seconds / seconds),
        )

    def encode(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        """Run the encoder on rows, each graph once.

        Raises:
            BackendError: the device failed.
        """
        results: dict[int, Encoded] = {}
        for cached in (False, True):
            chosen = [i for i, row in enumerate(rows) if (row.memory is not None) == cached]
            if chosen:
                encode = self._cached if cached else self._encode
                found = encode([rows[i] for i in chosen], [languages[i] for i in chosen])
                results.update(zip(chosen, found, strict=True))
        return [results[i] for i in range(len(rows))]

    def features(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features `[T, F]` of each of some samples `[N]`."""
        size = self.acoustic.bundle.manifest.architecture.feature_size
        frontend = self._graph("frontend")
        features = [np.zeros((0, size), np.float32)] * len(samples)
        by_length: dict[int, list[int]] = {}
        for index, own in enumerate(samples):
            by_length.setdefault(len(own), []).append(index)
        # Equal lengths run together.
        for length, indices in by_length.items():
            for start in range(0, len(indices) if length else 0, _FRONTEND_ROWS):
                part = indices[start : start + _FRONTEND_ROWS]
                feeds = {"audio": np.stack([samples[i] for i in part])}
                for index, rows in zip(part, frontend.run(feeds)["features"], strict=True):
                    features[index] = rows
        return features

    def _graph(self, stage: Stage) -> Session:
        return self._host.graph(stage, self._threads)

    def _encode(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        emission = self._host.encode([row.features for row in rows], languages)
        return [Encoded(logits) for logits in emission.rows()]

    def _cached(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        session = self._graph("cached")
        feeds = self._memories(rows)
        with self._host.bank.acquire(languages) as residents:
            held = [residents[language] for language in languages]
            feeds.update(self._host.bank.rows.constants())
            feeds["slot"] = np.array([resident.slot for resident in held], np.int64)
            outputs = session.run(feeds)
        logits, update = outputs["logits"], outputs["update"]
        sizes = [
            (len(row.features) - row.history, len(own.vocabulary))
            for row, own in zip(rows, held, strict=True)
        ]
        return [
            Encoded(np.ascontiguousarray(logits[i, :frames, :vocab]), update[i, ..., :frames, :])
            for i, (frames, vocab) in enumerate(sizes)
        ]

    def _memories(self, rows: Sequence[EncoderRow]) -> dict[str, Array | Constant]:
        """Return the rows' features and memories as the graph takes them."""
        before = self.acoustic.bundle.manifest.architecture.num_conv_pos_embeddings // 2
        lengths = [len(row.features) - row.history for row in rows]
        size = rows[0].features.shape[1]
        features = np.zeros((len(rows), before + max(lengths), size), np.float32)
        memories = [row.memory for row in rows if row.memory is not None]
        filled = [memory.filled for memory in memories]
        for place, row in zip(features, rows, strict=True):
            place[before - row.history : before - row.history + len(row.features)] = row.features
        return {
            "features": features,
            "history": np.array([row.history for row in rows], np.int64),
            "lengths": np.array(lengths, np.int64),
            "cache": _stack(memories, max([1, *filled])),
            "filled": np.array(filled, np.int64),
        }


def _stack(memories: Sequence[Memory], places: int) -> Array:
    """Return the filled part of some rings, `[B, ..., places, n]`."""
    *outer, _, inner = memories[0].cache.shape
    stacked = np.empty((len(memories), *outer, places, inner), memories[0].cache.dtype)
    for row, memory in zip(stacked, memories, strict=True):
        row[..., : memory.filled, :] = memory.cache[..., : memory.filled, :]
        row[..., memory.filled :, :] = 0
    return stacked
