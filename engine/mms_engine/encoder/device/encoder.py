"""Encoder on TensorRT plans: samples are uploaded, logits stay on the device."""

import contextlib
import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from mms_engine.backends.session import storage_dtype
from mms_engine.bank.adapters import AdapterBank
from mms_engine.bank.bank import Resident
from mms_engine.bank.device import DeviceBank
from mms_engine.bank.heads import PAGE_TOKENS, row_inputs
from mms_engine.cuda.layout import pack
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.pinned import PinnedRing
from mms_engine.cuda.streams import CudaEvent
from mms_engine.cuda.workspace import Workspace
from mms_engine.encoder.device.emission import DeviceEmission
from mms_engine.encoder.device.kv_cache import CacheBuffers, cache_buffers
from mms_engine.encoder.device.plans import DevicePlans
from mms_engine.encoder.device.slices import Slices
from mms_engine.encoder.device.steps import DeviceSteps
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.interface import StepEncoder
from mms_engine.errors import BackendError, DeviceMemoryError
from mms_engine.text.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_STAGES = 2


class DeviceEncoder:
    """Frontend and encoder plans on one CUDA stream; see `Encoder`."""

    def __init__(self, plans: DevicePlans, bank: AdapterBank[DeviceBank] | None) -> None:
        """Take over plans and bank; `None` for a model without adapters."""
        self.device = "cuda"
        self.variant = plans.variant
        self.bank = bank
        self._plans = plans
        self._slices = Slices.of(plans.session("frontend"), plans.geometry)
        self._encoder = plans.session(plans.encoder)
        self._geometry = plans.geometry
        self._before = 0 if bank is None else plans.architecture.num_conv_pos_embeddings // 2
        """Frames ahead of the audio in a row, which are masked."""
        self._caches: tuple[CacheBuffers, ...] = (
            () if bank is None else cache_buffers(self._encoder.inputs)
        )
        self._stream = plans.stream
        self.gpu = self._stream.device
        self._steps: DeviceSteps | None = None
        self._lock = threading.RLock()
        self._closed = False
        with self.gpu.creating("preparing to run") as owned:
            self._ready = owned(CudaEvent(self.gpu))
            self._ring = owned(PinnedRing(self.gpu, _STAGES))
        self._workspace = Workspace(self.gpu)

    def rows_within(self, frames: int) -> int:
        """Return the most rows of `frames` frames in one run; 0 if no profile covers them."""
        buckets = self._encoder.buckets
        return buckets.most("batch", **{buckets.length: self._before + frames})

    def parts(self, rows: int, frames: int) -> list[int]:
        """Divide a batch among runs; see `Encoder.parts`."""
        return self._encoder.buckets.parts(rows, self._before + frames)

    @contextlib.contextmanager
    def emission(self, segments: Sequence[Segment]) -> Iterator[DeviceEmission]:
        """Run segments as one batch; the emission is overwritten by the next.

        Raises:
            BackendError: the device failed, or no profile takes the batch.
        """
        with contextlib.ExitStack() as held:
            try:
                made = held.enter_context(self._emission(segments))
            except DeviceMemoryError:
                # The bank is a cache: it makes room for the run.
                if not self._shrink_bank({segment.language for segment in segments}):
                    raise
                made = held.enter_context(self._emission(segments))
            yield made

    def _shrink_bank(self, needed: Collection[str]) -> bool:
        if self.bank is None or not self.bank.shrink(needed, self.bank.storage.shrink):
            return False
        logger.warning(
            "%s was out of memory: the bank of adapters shrinks to %d slots and %d pages",
            self.gpu.name,
            self.bank.slots,
            self.bank.pages,
        )
        return True

    @contextlib.contextmanager
    def _emission(self, segments: Sequence[Segment]) -> Iterator[DeviceEmission]:
        languages = [segment.language for segment in segments]
        frames = tuple(self._geometry.frames(segment.samples.size) for segment in segments)
        doing = f"running a batch of {len(segments)}"
        if self.bank is None:
            with self._on_stream(doing):
                scores = self._run(segments, frames, [])
                self._stream.record(self._ready)
                # Pooled over time: an emission of one frame.
                rows, labels = len(segments), scores.shape[1]
                logits = scores.view((scores.shape[0], 1, labels))
                yield DeviceEmission(
                    logits, (1,) * rows, (labels,) * rows, self._ready, self._stream
                )
            return
        # The bank first: waiting for slots must not block runs that would free some.
        with self.bank.acquire(languages) as residents, self._on_stream(doing):
            held = [residents[language] for language in languages]
            with self.bank.storage.reading([one.slot for one in held], self._stream):
                logits = self._run(segments, frames, held)
            self._stream.record(self._ready)
            vocabs = tuple(len(resident.info) for resident in held)
            yield DeviceEmission(logits, frames, vocabs, self._ready, self._stream)

    @contextlib.contextmanager
    def _on_stream(self, doing: str) -> Iterator[None]:
        """Lock the CUDA stream, on which work of another thread could enter a capture."""
        with self._lock:
            if self._closed:
                raise BackendError("the model is closed")
            with self.gpu.active(doing):
                yield

    def steps(self, threads: int | None) -> StepEncoder:
        """Return the encoder of streaming steps; `threads` has no effect on a GPU."""
        del threads
        if self.bank is None:
            raise BackendError("a model without adapters has no streaming steps")
        with self._lock:
            if self._steps is None:
                self._steps = DeviceSteps(self._plans, self.bank, self._on_stream)
            return self._steps

    def close(self) -> None:
        """Free the plans, the bank and all buffers."""
        with self._lock, self.gpu.active("closing"):
            if self._closed:
                return
            self._closed = True
            self._stream.synchronize()
            if self._steps is not None:
                self._steps.close()
            self._ring.free()
            self._workspace.free()
            if self.bank is not None:
                self.bank.storage.free()
            self._ready.free()
            self._plans.close()

    def _run(
        self,
        segments: Sequence[Segment],
        frames: tuple[int, ...],
        held: Sequence[Resident[Vocabulary]],
    ) -> DeviceArray:
        """Return the logits `[B, T, V]`, or scores `[B, C]` where there is no bank."""
        length = self._encoder.buckets.length
        wanted = {"batch": len(segments), length: self._before + max(frames)}
        bank: Mapping[str, DeviceArray] = {}
        if self.bank is not None:
            storage = self.bank.storage
            bank, pages = storage.arrays, storage.pages_of(held)
            wanted |= {**storage.sizes, "pages": pages, "cache_slots": 1, "kept_frames": 1}
        bucket = self._encoder.buckets.fit(wanted, rounded=("batch", length))
        sizes = {**bucket.sizes, "frames": bucket.sizes[length] - self._before}
        sizes["vocab"] = sizes.get("pages", 0) * PAGE_TOKENS
        inputs = self._upload(segments, frames, held, sizes)
        arrays = {"features": self._features(inputs["audio"], sizes), **inputs, **bank}
        for buffers in self._caches:  # of one masked frame
            lines, parts = buffers.take(self._workspace, sizes["batch"], 1)
            self._stream.clear(lines)
            arrays |= parts
        for tensor in self._encoder.outputs:
            if tensor.name not in arrays:
                shape = tuple(
                    size if isinstance(size, int) else sizes[size] for size in tensor.shape
                )
                dtype = storage_dtype(tensor.dtype)
                arrays[tensor.name] = self._workspace.device(tensor.name, shape, dtype)
        feeds = {tensor.name: arrays[tensor.name] for tensor in self._encoder.inputs}
        outputs = {tensor.name: arrays[tensor.name] for tensor in self._encoder.outputs}
        self._encoder.enqueue(bucket.profile, feeds, outputs)
        return arrays[self._encoder.outputs[0].name]

    def _upload(
        self,
        segments: Sequence[Segment],
        frames: tuple[int, ...],
        held: Sequence[Resident[Vocabulary]],
        sizes: Mapping[str, int],
    ) -> dict[str, DeviceArray]:
        """Upload slices of samples and numbers of rows in one copy; padding rows have one frame."""
        batch, slices = sizes["batch"], self._slices
        each = slices.of_frames(self._before + sizes["frames"])
        numbers = ((batch,), "int64")
        languages = row_inputs(held, batch, sizes["pages"]) if held else {}
        layout = pack(
            lengths=numbers,
            history=numbers,
            filled=numbers,
            keep=((1,), "int64"),
            audio=((slices.padded(len(segments) * each), slices.samples), "float32"),
            **{name: (values.shape, "int64") for name, values in languages.items()},
        )
        with self._ring.staging(layout.size, self._stream) as host:
            views = layout.of(host)
            for name in ("history", "filled", "keep"):
                views[name][...] = 0
            views["lengths"][...] = 1
            views["lengths"][: len(frames)] = frames
            for name, values in languages.items():
                views[name][...] = values
            for row, segment in enumerate(segments):
                own = views["audio"][row * each : (row + 1) * each]
                slices.cut(segment.samples, own, before=self._before)
            views["audio"][len(segments) * each :] = 0
            memory = self._workspace.device("inputs", (layout.size,), np.uint8)
            self._stream.upload(memory, host)
        return layout.on_device(memory)

    def _features(self, audio: DeviceArray, sizes: Mapping[str, int]) -> DeviceArray:
        """Run the frontend, which writes the features of all rows in place."""
        batch, frames = sizes["batch"], self._before + sizes["frames"]
        count = max(len(audio), batch * self._slices.of_frames(frames))
        shape, dtype = self._slices.features(count)
        features = self._workspace.device("features", shape, dtype)
        self._slices.run(audio, features)
        return features.view((batch, frames, shape[2]))
