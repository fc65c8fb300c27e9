"""Protocols of the encoder: whole utterances in batches, and streaming steps with a KV cache."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mms_engine.backends.session import Array
from mms_engine.bank.adapters import AdapterBank
from mms_engine.cuda.context import CudaDevice
from mms_engine.encoder.emission import Emission, Segment
from mms_engine.types import Float32Array


class Encoder(Protocol):
    """Frontend and encoder of a bundle on one backend. May be used from several threads."""

    bank: AdapterBank[Any] | None
    """Resident languages; `None` for a model without adapters."""

    variant: str
    """Backend, precision and device, as `ort-cpu fp32 cpu`: what speed depends on."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        ...

    @property
    def gpu(self) -> CudaDevice | None:
        """GPU that holds the logits of `emission`; `None` where they are in host memory."""
        ...

    def emission(self, segments: Sequence[Segment]) -> AbstractContextManager[Emission]:
        """Run segments as one batch; their logits are valid inside the context.

        Raises:
            BackendError: the device failed.
        """
        ...

    def rows_within(self, frames: int) -> int | None:
        """Return the most rows of `frames` frames that one run takes; `None` for no limit."""
        ...

    def parts(self, rows: int, frames: int) -> list[int]:
        """Divide the rows of a batch, of at most `frames` frames, among runs: rows of each run."""
        ...

    def steps(self, threads: int | None) -> "StepEncoder":
        """Return the encoder of streaming steps.

        Args:
            threads: Threads of one run on a CPU; `None` for those of the recogniser.
        """
        ...

    def close(self) -> None:
        """Free graphs and memory."""
        ...


class KvCache(Protocol):
    """Keys and values of a stream's earlier frames: a ring buffer on the host or a device."""

    shape: tuple[int, ...]
    """`[..., slots, n]`, as a row of the graph's input `cache`."""
    dtype: "np.dtype[Any]"

    def write(self, update: Any, at: int) -> None:  # noqa: ANN401
        """Write the frames of an update into the slots from `at` on, wrapping at the end.

        Args:
            update: `StepOutput.update` of a step with this cache.
            at: First slot.
        """
        ...

    def read(self, filled: int) -> Array:
        """Return the first slots in host memory, `[..., filled, n]`."""
        ...

    def load(self, content: Array) -> None:
        """Write what `read` returned into the first slots."""
        ...

    def release(self) -> None:
        """Free its memory; it cannot be used afterwards."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CacheView:
    """Part of a KV cache that a step attends to, and the frames the step adds to it."""

    cache: KvCache
    filled: int
    """Slots that hold a frame."""
    kept: slice
    """Frames of the step whose keys and values will be written to the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class StepInput:
    """A row of a streaming step."""

    features: Float32Array
    """Shape `[history + T, F]`."""
    history: int = 0
    """Leading frames that only feed the positional convolution; 0 without `view`."""
    view: CacheView | None = None
    """`None` to run the graph `encoder`, else the graph `step` runs."""

    @property
    def frames(self) -> int:
        """T: frames that get logits."""
        return len(self.features) - self.history

    def write(self, target: Float32Array, before: int) -> None:
        """Write the features into `[N, F]`, those with logits from `before` on, zeros around."""
        start = before - self.history
        end = start + len(self.features)
        target[:start] = target[end:] = 0
        target[start:end] = self.features


def kept_frames(rows: Sequence[StepInput]) -> slice:
    """Return the new frames, at least one, that a batch adds to any KV cache."""
    kept = [row.view.kept for row in rows if row.view and row.view.kept.stop > row.view.kept.start]
    start = min((own.start for own in kept), default=0)
    return slice(start, max((own.stop for own in kept), default=start + 1))


@dataclass(frozen=True, slots=True, eq=False)
class StepOutput:
    """Result of a streaming step for one row."""

    logits: Float32Array
    """Shape `[T, V]`."""
    update: Any = None
    """Keys and values of the frames `CacheView.kept`, in the form `KvCache.write` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSizes:
    """Sizes of a streaming context in frames."""

    left: int
    chunk: int
    right: int


class StepEncoder(Protocol):
    """Encoder of streaming steps in batches. Methods may be called from several threads."""

    @property
    def rows(self) -> int:
        """Most rows that should run together."""
        ...

    def cache(self, sizes: ContextSizes) -> KvCache:
        """Return the empty KV cache of a new stream, with `sizes.left` slots.

        Raises:
            BundleError, BackendError: no graph or plan takes it.
            DeviceMemoryError: the device has no room.
        """
        ...

    def features(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features `[T, F]` of each array of samples `[N]`."""
        ...

    def encode(self, rows: Sequence[StepInput], languages: Sequence[str]) -> list[StepOutput]:
        """Run rows without a cache. Changes no stream."""
        ...

    def encode_cached(
        self, rows: Sequence[StepInput], languages: Sequence[str]
    ) -> list[StepOutput]:
        """Run rows with a cache. Writes no cache; a row's update is valid until its next step."""
        ...
