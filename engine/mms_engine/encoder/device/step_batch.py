"""Batches of streaming steps: their uploads, plan runs and staged cache updates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mms_engine.bank.bank import Resident
from mms_engine.bank.device import DeviceBank
from mms_engine.bank.heads import PAGE_TOKENS, row_inputs
from mms_engine.cuda.layout import pack
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.pinned import PinnedRing
from mms_engine.cuda.workspace import Workspace
from mms_engine.encoder.device.emission import download_own
from mms_engine.encoder.device.kv_cache import DeviceKvCache, StagedUpdate, cache_buffers
from mms_engine.encoder.interface import StepInput, kept_frames
from mms_engine.tensorrt.session import TensorRtSession
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Float32Array

_STAGES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Batch of steps with the sizes of its bucket."""

    session: TensorRtSession
    rows: Sequence[StepInput]
    held: Sequence[Resident[Vocabulary]]
    profile: int
    batch: int
    before: int
    """Frames ahead of the new ones, for the positional convolution."""
    frames: int
    """New frames of the longest row, padded."""
    pages: int
    """Pages of a row's head."""
    kept: int
    """Slots of the largest KV cache; 1 without."""
    keep: slice
    """New frames whose keys and values the run returns."""


class StepBatches:
    """Batches on one CUDA stream, each of which overwrites the previous one.

    Made, used and freed while the CUDA stream is locked.
    """

    def __init__(self, session: TensorRtSession, bank: DeviceBank, before: int) -> None:
        """Allocate nothing yet.

        Args:
            session: Plan of the step graph.
            bank: Resident languages.
            before: Frames ahead of the new ones in a run.
        """
        self._session = session
        self._stream = stream = session.stream
        self._bank = bank
        self._before = before
        self._caches, self._updates = cache_buffers(session.inputs)
        self._pinned = PinnedRing(stream.device, _STAGES)
        self._workspace = Workspace(stream.device)

    def run(
        self, rows: Sequence[StepInput], held: Sequence[Resident[Vocabulary]]
    ) -> tuple[list[Float32Array], Sequence[StagedUpdate | None]]:
        """Run rows, all with a KV cache of the same sizes or all without.

        Args:
            rows: Inputs.
            held: Language of each row.

        Returns:
            Logits `[frames, tokens]` and the staged cache update of each row.

        Raises:
            BackendError: no profile takes the batch, or the device failed.
        """
        run = self._prepare(rows, held)
        feeds, scores = self._feeds(run), self._scores(run)
        count = run.keep.stop - run.keep.start
        made, outputs = self._updates.take(self._workspace, run.batch, count)
        with self._bank.reading([one.slot for one in held], self._stream):
            self._session.enqueue(run.profile, feeds, {"logits": scores, **outputs})
        updates = [_stage(row, index, made, run.keep) for index, row in enumerate(rows)]
        sizes = [(row.frames, len(one.info)) for row, one in zip(rows, held, strict=True)]
        logits = download_own(self._stream, scores, sizes)
        self._stream.synchronize()
        return logits, updates

    def free(self) -> None:
        """Free all memory."""
        self._pinned.free()
        self._workspace.free()

    def _prepare(self, rows: Sequence[StepInput], held: Sequence[Resident[Vocabulary]]) -> _Run:
        frames = max(row.frames for row in rows)
        caches = [row.view.cache.shape[-2] for row in rows if row.view]
        keep, kept = kept_frames(rows), max(caches, default=1)
        sizes = {
            "batch": len(rows),
            "input_frames": self._before + frames,
            **self._bank.sizes,
            "pages": self._bank.pages_of(held),
            "cache_slots": kept,
            "kept_frames": keep.stop - keep.start,
        }
        # Steps of a stream have one length; windows grow until they are full.
        fitted = self._session.buckets.fit(
            sizes, rounded=("batch", "input_frames"), fine=bool(caches)
        )
        return _Run(
            session=self._session,
            rows=rows,
            held=held,
            profile=fitted.profile,
            batch=fitted.sizes["batch"],
            before=self._before,
            frames=fitted.sizes["input_frames"] - self._before,
            pages=fitted.sizes["pages"],
            kept=kept,
            keep=keep,
        )

    def _feeds(self, run: _Run) -> dict[str, DeviceArray]:
        """Return the plan's inputs; host arrays are uploaded in one copy."""
        arrays = {**self._upload(run), **self._bank.arrays}
        caches, parts = self._caches.take(self._workspace, run.batch, run.kept)
        if all(row.view is None for row in run.rows):
            self._stream.clear(caches)
        for index, row in enumerate(run.rows):
            if row.view is not None:
                cache_of(row).copy_to(caches, index)
        arrays |= parts
        return {tensor.name: arrays[tensor.name] for tensor in run.session.inputs}

    def _upload(self, run: _Run) -> dict[str, DeviceArray]:
        """Upload features and sizes in one copy; padding rows are one frame long."""
        count, size = len(run.rows), run.rows[0].features.shape[1]
        numbers = ((run.batch,), "int64")
        languages = row_inputs(run.held, run.batch, run.pages)
        layout = pack(
            lengths=numbers,
            history=numbers,
            filled=numbers,
            keep=((run.keep.stop - run.keep.start,), "int64"),
            features=((run.batch, run.before + run.frames, size), "float32"),
            **{name: (values.shape, "int64") for name, values in languages.items()},
        )
        with self._pinned.staging(layout.size, self._stream) as host:
            views = layout.of(host)
            for name, view in views.items():
                if name != "keep":
                    view[count:] = 0
            views["keep"][...] = range(run.keep.start, run.keep.stop)
            views["lengths"][count:] = 1
            for name, values in languages.items():
                views[name][...] = values
            for index, row in enumerate(run.rows):
                views["lengths"][index] = row.frames
                views["history"][index] = row.history
                views["filled"][index] = row.view.filled if row.view else 0
                row.write(views["features"][index], run.before)
            memory = self._workspace.device("inputs", (layout.size,), np.uint8)
            self._stream.upload(memory, host)
        return layout.on_device(memory)

    def _scores(self, run: _Run) -> DeviceArray:
        shape = (run.batch, run.frames, run.pages * PAGE_TOKENS)
        return self._workspace.device("logits", shape, np.float32)


def _stage(row: StepInput, index: int, updates: DeviceArray, keep: slice) -> StagedUpdate | None:
    """Stage the new frames of a row that has a cache; `keep` are the frames in `updates`."""
    if row.view is None:
        return None
    kept = row.view.kept
    # A row that keeps nothing need not lie within the others' frames.
    own = slice(kept.start - keep.start, kept.stop - keep.start)
    own = own if kept.stop > kept.start else slice(0, 0)
    return cache_of(row).stage(updates, index, keep.stop - keep.start, own)


def cache_of(row: StepInput) -> DeviceKvCache:
    """Return the KV cache of a row that has one."""
    if row.view is None:
        raise ValueError("a row without a KV cache does not run on the step graph")
    return cast("DeviceKvCache", row.view.cache)  # a StepEncoder makes its own caches
