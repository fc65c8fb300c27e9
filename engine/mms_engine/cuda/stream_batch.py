"""One batch of steps: what it takes to the device, and what it leaves there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mms_engine.backends.session import NUMPY_DTYPE
from mms_engine.bank.device import DeviceRows
from mms_engine.cuda.layout import pack
from mms_engine.cuda.memory import Buffer, DeviceArray
from mms_engine.cuda.pinned import PinnedRing
from mms_engine.cuda.stream_memory import DeviceRing
from mms_engine.cuda.streams import Stream
from mms_engine.streaming.contexts import EncoderRow, Memory
from mms_engine.tensorrt.session import TensorRtSession
from mms_engine.types import Float32Array

_STAGES = 2


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


class StepBatches:
    """Runs batches on one stream, each of which overwrites the one before.

    Made, used and freed while the stream is this thread's own.
    """

    def __init__(self, stream: Stream, bank: DeviceRows, before: int) -> None:
        """Begin without memory.

        Args:
            stream: Of the plans.
            bank: The languages' rows.
            before: Frames ahead of the new ones in a run with memories.
        """
        self._stream = stream
        self._bank = bank
        self._before = before
        self._pinned = PinnedRing(stream.device, _STAGES)
        names = ("inputs", "cache", "update", "logits")
        self._buffers = {name: Buffer(stream.device) for name in names}

    def run(
        self, session: TensorRtSession, rows: Sequence[EncoderRow], slots: list[int]
    ) -> tuple[Float32Array, Sequence[DeviceArray | None]]:
        """Run a plan on rows, all with a memory or all without.

        Args:
            session: The plan.
            rows: What it runs on.
            slots: Row of the bank for each.

        Returns:
            Logits `[B, T, V]` of at least these rows' frames and tokens, and what each leaves.

        Raises:
            BackendError: no profile takes the batch, or the device failed.
        """
        run = self._prepare(session, rows, slots)
        feeds, outputs = self._feeds(run), self._outputs(run)
        with self._bank.reading(slots, self._stream):
            session.enqueue(run.profile, feeds, outputs)
        left = self._stage(run, outputs)
        logits = np.empty((len(rows), *outputs["logits"].shape[1:]), np.float32)
        self._stream.download(logits, outputs["logits"].rows(0, len(rows)))
        self._stream.synchronize()
        return logits, left

    def free(self) -> None:
        """Give all memory back."""
        self._pinned.free()
        for buffer in self._buffers.values():
            buffer.free()

    def _prepare(
        self, session: TensorRtSession, rows: Sequence[EncoderRow], slots: list[int]
    ) -> _Run:
        slot_count, vocab = self._bank.arrays["head_bias"].shape
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
        arrays = {**self._upload(run), **self._bank.arrays}
        if run.kept:
            shape, dtype = run.memory_shape("cache", run.kept)
            arrays["cache"] = cache = self._buffers["cache"].take(shape, dtype)
            for index, row in enumerate(run.rows):
                _ring(row).load(cache.row(index), memory_of(row).filled)
            self._stream.clear(cache.rows(len(run.rows), run.batch))
        return {tensor.name: arrays[tensor.name] for tensor in run.session.inputs}

    def _upload(self, run: _Run) -> dict[str, DeviceArray]:
        """Send features and numbers; rows of padding are one frame long."""
        count, size = len(run.rows), run.rows[0].features.shape[1]
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
            views = layout.of(host)
            for view in views.values():
                view[count:] = 0
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
        return layout.on_device(memory)

    def _outputs(self, run: _Run) -> dict[str, DeviceArray]:
        vocab = self._bank.arrays["head_bias"].shape[1]
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
            _ring(row).stage(outputs["update"].row(index), memory_of(row).kept)
            for index, row in enumerate(run.rows)
        ]


def memory_of(row: EncoderRow) -> Memory:
    """Return the memory of a row that has one."""
    if row.memory is None:
        raise ValueError("a row without a memory does not run on the graph cached")
    return row.memory


def _ring(row: EncoderRow) -> DeviceRing:
    return cast("DeviceRing", memory_of(row).ring)  # a runner makes its own rings
