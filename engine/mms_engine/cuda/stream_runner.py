"""Steps of streams on the device: features come from the host, keys and values stay there."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mms_engine.backends.tensorrt import TensorRtSession
from mms_engine.bank import AdapterBank
from mms_engine.bundle.schema import Architecture, Stage
from mms_engine.cuda.layout import pack
from mms_engine.cuda.memory import Buffer, DeviceArray
from mms_engine.cuda.pinned import PinnedRing
from mms_engine.cuda.rows import DeviceRows
from mms_engine.cuda.stream_memory import DeviceRing, RingShape, StreamMemories, Working
from mms_engine.frames import FrameGeometry
from mms_engine.rows import NUMPY_DTYPE
from mms_engine.streaming.contexts import Encoded, EncoderRow, Memory, Sizes
from mms_engine.types import Float32Array

OpenPlan = Callable[[Stage], TensorRtSession]
"""Loads a plan."""
_ROWS = 64
_FRONTEND_FRAMES = 4096
_CACHE_BYTES = 1 << 30
"""Copies of the rings of one run: 16 streams of 5 s at 1B."""
_STAGES = 2


class StreamPlans:
    """The plans that streams run; that of `cached` is loaded when the first of them needs it."""

    def __init__(
        self, frontend: TensorRtSession, encoder: TensorRtSession, open_plan: OpenPlan
    ) -> None:
        self.frontend = frontend
        self.encoder = encoder
        self._open_plan = open_plan
        self._lock = threading.Lock()
        self._cached: TensorRtSession | None = None

    @property
    def cached(self) -> TensorRtSession:
        """That of the graph `cached`.

        Raises:
            BackendError: there is none.
        """
        with self._lock:
            if self._cached is None:
                self._cached = self._open_plan("cached")
            return self._cached

    def close(self) -> None:
        """Free what was loaded here."""
        if self._cached is not None:
            self._cached.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A batch, and the sizes it runs with."""

    session: TensorRtSession
    rows: Sequence[EncoderRow]
    slots: list[int]
    profile: int
    batch: int
    before: int
    """Frames ahead of the new ones."""
    frames: int
    """New frames of the longest row, rounded up."""
    kept: int
    """Places of the largest ring; 0 for the plan of the encoder."""

    def memory_shape(self, name: str, frames: int) -> tuple[tuple[int, ...], str]:
        """Return shape and dtype of `cache` or `update` with so many frames."""
        tensors = (*self.session.inputs, *self.session.outputs)
        tensor = next(tensor for tensor in tensors if tensor.name == name)
        _, *outer, _, inner = cast("tuple[int, ...]", tensor.shape)
        dtype = NUMPY_DTYPE.get(tensor.dtype, tensor.dtype)
        return (self.batch, *outer, frames, inner), dtype


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
        gpu = self._stream.device
        with working("preparing for streams"):
            self._pinned = PinnedRing(gpu, _STAGES)
        self._buffers = {name: Buffer(gpu) for name in ("inputs", "cache", "update", "logits")}

    @property
    def _before(self) -> int:
        """Frames that positions hear."""
        return self._architecture.num_conv_pos_embeddings // 2

    def ring(self, sizes: Sizes) -> DeviceRing:
        """Return the memory of a new stream; see `StreamRunner.ring`."""
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
        ring = max(_memory(row).ring.shape[-2] for row in rows)
        heard = self._before + max(row.frames for row in rows)
        cache = _memory(rows[0]).ring
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
            run = self._prepare(session, rows, [resident.slot for resident in held])
            feeds, outputs = self._feeds(run), self._outputs(run)
            with self._bank.rows.reading(run.slots, self._stream):
                session.enqueue(run.profile, feeds, outputs)
            left = self._stage(run, outputs)
            logits = np.empty((len(rows), *outputs["logits"].shape[1:]), np.float32)
            self._stream.download(logits, outputs["logits"].rows(0, len(rows)))
            self._stream.synchronize()
        return [
            Encoded(np.ascontiguousarray(scores[: row.frames, : len(own.vocabulary)]), update)
            for scores, row, own, update in zip(logits, rows, held, left, strict=True)
        ]

    def _prepare(
        self, session: TensorRtSession, rows: Sequence[EncoderRow], slots: list[int]
    ) -> _Run:
        slot_count, vocab = self._bank.rows.arrays["head_bias"].shape
        frames = max(row.frames for row in rows)
        kept = max((row.memory.ring.shape[-2] for row in rows if row.memory), default=0)
        before = self._before if kept else 0
        length = "heard" if kept else "frames"
        sizes = {"batch": len(rows), length: before + frames, "slots": slot_count, "vocab": vocab}
        sizes |= {"kept": kept} if kept else {}
        bucket = session.buckets.fit(sizes, rounded=("batch", length))
        return _Run(
            session=session,
            rows=rows,
            slots=slots,
            profile=bucket.profile,
            batch=bucket.sizes["batch"],
            before=before,
            frames=bucket.sizes[length] - before,
            kept=kept,
        )

    def _feeds(self, run: _Run) -> dict[str, DeviceArray]:
        """Return the plan's inputs: what the host has goes there in one copy."""
        arrays = {**self._upload(run), **self._bank.rows.arrays}
        if run.kept:
            shape, dtype = run.memory_shape("cache", run.kept)
            arrays["cache"] = cache = self._buffers["cache"].take(shape, dtype)
            for index, row in enumerate(run.rows):
                _ring(row).load(cache.row(index), _memory(row).filled)
            self._stream.clear(cache.rows(len(run.rows), run.batch))
        return {tensor.name: arrays[tensor.name] for tensor in run.session.inputs}

    def _upload(self, run: _Run) -> dict[str, DeviceArray]:
        """Send features and numbers; rows of padding are one frame long."""
        count, size = len(run.rows), self._architecture.feature_size
        numbers = ((run.batch,), "int64")
        layout = pack(
            lengths=numbers,
            slot=numbers,
            history=numbers,
            filled=numbers,
            features=((run.batch, run.before + run.frames, size), "float32"),
        )
        with self._pinned.take() as buffer:
            host = buffer.bytes(layout.size)
            host[...] = 0
            views = {name: part.of(host) for name, part in layout.parts.items()}
            views["lengths"][count:] = 1
            views["slot"][count:] = run.slots[0]
            views["slot"][:count] = run.slots
            for index, row in enumerate(run.rows):
                views["lengths"][index] = row.frames
                views["history"][index] = row.history
                views["filled"][index] = row.memory.filled if row.memory else 0
                row.write(views["features"][index], run.before)
            memory = self._buffers["inputs"].take((layout.size,), np.uint8)
            self._stream.upload(memory, host)
            buffer.sent(self._stream)
        return {
            name: memory.view(part.shape, part.dtype, offset=part.offset)
            for name, part in layout.parts.items()
        }

    def _outputs(self, run: _Run) -> dict[str, DeviceArray]:
        vocab = self._bank.rows.arrays["head_bias"].shape[1]
        shape = (run.batch, run.frames, vocab)
        outputs = {"logits": self._buffers["logits"].take(shape, np.float32)}
        if run.kept:
            outputs["update"] = self._buffers["update"].take(
                *run.memory_shape("update", run.frames)
            )
        return outputs

    def _stage(self, run: _Run, outputs: Mapping[str, DeviceArray]) -> Sequence[DeviceArray | None]:
        """Bring what each row leaves to its ring."""
        if not run.kept:
            return [None] * len(run.rows)
        return [
            _ring(row).stage(outputs["update"].row(index), _memory(row).kept)
            for index, row in enumerate(run.rows)
        ]

    def close(self) -> None:
        """Free all; the stream is idle, and this thread's own."""
        self._memories.free()
        self._pinned.free()
        for buffer in self._buffers.values():
            buffer.free()
        self._plans.close()


def _memory(row: EncoderRow) -> Memory:
    if row.memory is None:
        raise ValueError("a row without a memory does not run on the graph cached")
    return row.memory


def _ring(row: EncoderRow) -> DeviceRing:
    return cast("DeviceRing", _memory(row).ring)  # a runner makes its own rings
