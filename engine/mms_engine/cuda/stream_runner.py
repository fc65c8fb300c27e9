"""Steps of streams on the device: features come from the host, keys and values stay there."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from mms_engine.backends.session import NUMPY_DTYPE
from mms_engine.bank.bank import AdapterBank
from mms_engine.bank.device import DeviceRows
from mms_engine.bundle.schema import Architecture, Stage
from mms_engine.cuda.stream_batch import StepBatches, memory_of
from mms_engine.cuda.stream_memory import DeviceRing, RingShape, StreamMemories, Working
from mms_engine.frames import FrameGeometry
from mms_engine.streaming.contexts import Encoded, EncoderRow, Sizes
from mms_engine.tensorrt.session import TensorRtSession
from mms_engine.types import Float32Array

OpenPlan = Callable[[Stage], TensorRtSession]
"""Loads a plan."""
_ROWS = 64
_FRONTEND_FRAMES = 4096
_CACHE_BYTES = 1 << 30
"""Copies of the rings of one run: 16 streams of 5 s at 1B."""


class StreamPlans:
    """The plans that streams run; that of `cached` is loaded when the first of them needs it.

    Used while their stream is this thread's own.
    """

    def __init__(
        self, frontend: TensorRtSession, encoder: TensorRtSession, open_plan: OpenPlan
    ) -> None:
        self.frontend = frontend
        self.encoder = encoder
        self._open_plan = open_plan
        self._cached: TensorRtSession | None = None

    @property
    def cached(self) -> TensorRtSession:
        """That of the graph `cached`.

        Raises:
            BackendError: there is none.
        """
        if self._cached is None:
            self._cached = self._open_plan("cached")
        return self._cached

    def close(self) -> None:
        """Free what was loaded here."""
        if self._cached is not None:
            self._cached.close()


class DeviceRunner:
    """Streams on a bundle's plans; see `StreamRunner`."""

    def __init__(
        self,
        plans: StreamPlans,
        bank: AdapterBank[DeviceRows],
        geometry: FrameGeometry,
        architecture: Architecture,
        working: Working,
    ) -> None:
        """Use plans, which share a stream; `working` makes it this thread's own."""
        self.rows = _ROWS
        self._plans = plans
        self._bank = bank
        self._geometry = geometry
        self._architecture = architecture
        self._working = working
        self._stream = plans.encoder.stream
        self._memories = StreamMemories(self._stream, working)
        with working("preparing for streams"):
            self._batches = StepBatches(self._stream, bank.rows, self._before)

    @property
    def _before(self) -> int:
        """Frames that positions hear."""
        return self._architecture.num_conv_pos_embeddings // 2

    def ring(self, sizes: Sizes) -> DeviceRing:
        """Return the memory of a new stream; see `StreamRunner.ring`."""
        with self._working("loading the plan of streams"):
            session = self._plans.cached
        cache = next(tensor for tensor in session.inputs if tensor.name == "cache")
        _, layers, kinds, heads, _, inner = cast("tuple[int, ...]", cache.shape)
        places = max(1, sizes.left)
        # A step that the plan does not take is refused here, not in the middle of the stream.
        session.buckets.fit(
            {"batch": 1, "heard": self._before + sizes.chunk + sizes.right, "kept": places},
            rounded=("heard",),
        )
        outer = (layers, kinds, heads)
        shape = RingShape(outer, places, inner, staged=min(places, sizes.chunk))
        return self._memories.open(shape, NUMPY_DTYPE.get(cache.dtype, cache.dtype))

    def features(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features of samples; shorter ones run with longer ones, zeros behind them."""
        empty = np.zeros((0, self._architecture.feature_size), np.float32)
        found = [empty] * len(samples)
        order = sorted(
            (i for i, own in enumerate(samples) if len(own)), key=lambda i: len(samples[i])
        )
        while order:
            longest = len(samples[order[-1]])
            most = self._plans.frontend.buckets.most("batch", samples=longest)
            count = max(1, min(most, _FRONTEND_FRAMES // self._geometry.frames(longest)))
            part, order = order[-count:], order[:-count]
            rows = self._convolve([samples[i] for i in part])
            for index, row in zip(part, rows, strict=True):
                found[index] = row[: self._geometry.frames(len(samples[index]))].copy()
        return found

    def _convolve(self, samples: Sequence[Float32Array]) -> Float32Array:
        frontend = self._plans.frontend
        sizes = {"batch": len(samples), "samples": max(map(len, samples))}
        fitted = frontend.buckets.fit(sizes, rounded=("batch", "samples")).sizes
        audio = np.zeros((fitted["batch"], fitted["samples"]), np.float32)
        for row, own in zip(audio, samples, strict=False):
            row[: len(own)] = own
        with self._working(f"hearing {len(samples)} streams"):
            return frontend.run({"audio": audio})["features"]

    def encode(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        """Run rows without a memory on the encoder's plan."""
        frames = max(row.frames for row in rows)
        most = self._plans.encoder.buckets.most("batch", frames=frames)
        return self._grouped(self._plans.encoder, rows, languages, most)

    def encode_cached(self, rows: Sequence[EncoderRow], languages: Sequence[str]) -> list[Encoded]:
        """Run rows with a memory on the plan of `cached`."""
        session = self._plans.cached
        ring = max(memory_of(row).ring.shape[-2] for row in rows)
        heard = self._before + max(row.frames for row in rows)
        cache = memory_of(rows[0]).ring
        size = int(np.prod(cache.shape)) // cache.shape[-2] * ring * cache.dtype.itemsize
        most = min(session.buckets.most("batch", heard=heard, kept=ring), _CACHE_BYTES // size)
        return self._grouped(session, rows, languages, most)

    def _grouped(
        self,
        session: TensorRtSession,
        rows: Sequence[EncoderRow],
        languages: Sequence[str],
        most: int,
    ) -> list[Encoded]:
        encoded: list[Encoded] = []
        for start in range(0, len(rows), max(1, most)):
            part = slice(start, start + max(1, most))
            encoded += self._run(session, rows[part], languages[part])
        return encoded

    def _run(
        self, session: TensorRtSession, rows: Sequence[EncoderRow], languages: Sequence[str]
    ) -> list[Encoded]:
        """Run rows as one batch, which the next overwrites, but for what it leaves in each ring."""
        doing = f"running {len(rows)} steps of streams"
        with self._bank.acquire(languages) as residents, self._working(doing):
            self._memories.sweep()
            held = [residents[language] for language in languages]
            logits, left = self._batches.run(session, rows, [own.slot for own in held])
        return [
            Encoded(np.ascontiguousarray(scores[: row.frames, : len(own.vocabulary)]), update)
            for scores, row, own, update in zip(logits, rows, held, left, strict=True)
        ]

    def close(self) -> None:
        """Free all; the stream is idle, and this thread's own."""
        self._memories.free()
        self._batches.free()
        self._plans.close()
