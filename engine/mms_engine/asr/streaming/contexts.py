"""Streaming contexts: the frames each encoder step takes, and the logits and KV cache it keeps.

Frames are counted from the start of the stream. A context knows neither audio nor text.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mms_engine.encoder.interface import (
    CacheView,
    ContextSizes,
    KvCache,
    StepInput,
    StepOutput,
)
from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True)
class StepSpan:
    """Frames of one step: `[start, kept)` get final logits, `[kept, end)` are right context."""

    start: int
    kept: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class StepLogits:
    """Logits of a step in order of time."""

    kept: Float32Array
    """Shape `[N, V]`: final; follows the kept logits of the previous step."""
    tail: Float32Array
    """Shape `[M, V]`: logits of the right context, which the next step computes again."""


class Context(Protocol):
    """Division of a stream into encoder steps."""

    def next_span(self, available: int, *, ended: bool) -> StepSpan | None:
        """Return the next step, or `None` while more audio is needed.

        Args:
            available: Frames whose audio has arrived.
            ended: Whether no more audio will come.
        """
        ...

    @property
    def needed(self) -> int:
        """Frames from the start of the stream that the next step needs."""
        ...

    def row(self, span: StepSpan, new: Float32Array) -> StepInput:
        """Return the input of a step.

        Args:
            span: Frames of the step.
            new: Features `[N, F]` of frames `[featured, span.end)`.
        """
        ...

    def read(self, span: StepSpan, output: StepOutput) -> StepLogits:
        """Advance past a step, and return its logits."""
        ...

    @property
    def featured(self) -> int:
        """Frame up to which features are computed."""
        ...

    def reset(self, frame: int) -> None:
        """Restart at a frame, without left context."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state.

        Raises:
            KeyError, ValueError: it belongs to another context or model.
        """
        ...

    def release(self) -> None:
        """Free device memory; the context cannot be used afterwards."""
        ...


class FeatureTail:
    """Latest features of a stream, indexed by frame."""

    def __init__(self, size: int) -> None:
        self.first = 0
        self.rows: Float32Array = np.zeros((0, size), np.float32)

    @property
    def end(self) -> int:
        """Frame after the last."""
        return self.first + len(self.rows)

    def append(self, rows: Float32Array) -> None:
        """Add features `[N, F]`."""
        self.rows = np.concatenate([self.rows, rows])

    def span(self, start: int, end: int) -> Float32Array:
        """Return frames `[start, end)`."""
        return self.rows[start - self.first : end - self.first]

    def forget(self, before: int) -> None:
        """Drop frames before one."""
        if before > self.first:
            self.rows = self.rows[before - self.first :].copy()
            self.first = before

    def reset(self, frame: int) -> None:
        """Drop all features and continue at `frame`."""
        self.first, self.rows = frame, self.rows[:0]


class ChunkedContext:
    """Steps of a fixed chunk; base of the contexts `window` and `cached`."""

    def __init__(self, sizes: ContextSizes, feature_size: int) -> None:
        self.sizes = sizes
        self.begin = 0
        self.features = FeatureTail(feature_size)
        self._next = 0

    @property
    def featured(self) -> int:
        """Frame up to which features are computed."""
        return self.features.end

    @property
    def needed(self) -> int:
        """Frames from the start of the stream that the next step needs."""
        return self._next + self.sizes.chunk + self.sizes.right

    def next_span(self, available: int, *, ended: bool) -> StepSpan | None:
        """Return the next step; the last one takes all remaining frames."""
        start, sizes, full = self._next, self.sizes, self.needed
        if available > full or (available == full and not ended):
            return StepSpan(start, start + sizes.chunk, full)
        if ended and available > start:
            return StepSpan(start, available, available)
        return None

    def read(self, span: StepSpan, output: StepOutput) -> StepLogits:
        """Return the logits of the chunk and of the right context."""
        self._next = span.kept
        kept = span.kept - span.start
        return StepLogits(output.logits[:kept], output.logits[kept:])

    def reset(self, frame: int) -> None:
        """Restart at a frame."""
        self.begin = self._next = frame
        self.features.reset(frame)

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        return {
            "begin": self.begin,
            "next": self._next,
            "first": self.features.first,
            "rows": self.features.rows,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.begin, self._next = state["begin"], state["next"]
        self.features.first, self.features.rows = state["first"], state["rows"]

    def release(self) -> None:
        """Do nothing: features are in host memory."""


class WindowContext(ChunkedContext):
    """Steps that encode left context, chunk and right context."""

    def row(self, span: StepSpan, new: Float32Array) -> StepInput:
        """Return the frames from the left context on."""
        self.features.append(new)
        self.features.forget(max(self.begin, span.start - self.sizes.left))
        return StepInput(self.features.span(self.features.first, span.end))

    def read(self, span: StepSpan, output: StepOutput) -> StepLogits:
        """Return the logits after the left context."""
        left = len(output.logits) - (span.end - span.start)
        return super().read(span, StepOutput(output.logits[left:]))


class CachedContext(ChunkedContext):
    """Steps that encode chunk and right context; the left context is a KV cache."""

    def __init__(
        self, sizes: ContextSizes, feature_size: int, history: int, cache: KvCache
    ) -> None:
        """Begin with an empty cache.

        Args:
            sizes: Sizes in frames; `left` is the size of the cache.
            feature_size: Features per frame, F.
            history: Frames before a step that the positional convolution covers.
            cache: Cache of `left` slots; the context frees it.
        """
        super().__init__(sizes, feature_size)
        self._history = history
        self._cache = cache
        self._written = 0

    @property
    def _slots(self) -> int:
        return self._cache.shape[-2]

    @property
    def _filled(self) -> int:
        return min(self._written, self._slots)

    def _kept(self, span: StepSpan) -> slice:
        """Return the frames of a step to cache; none of a step that ends the utterance."""
        end = span.kept - span.start
        return slice(max(0, end - self._slots) if end <= self.sizes.chunk else end, end)

    def row(self, span: StepSpan, new: Float32Array) -> StepInput:
        """Return the step's frames, preceded by those the positional convolution covers."""
        self.features.append(new)
        self.features.forget(max(self.begin, span.start - self._history))
        features = self.features.span(self.features.first, span.end)
        history = span.start - self.features.first
        return StepInput(features, history, CacheView(self._cache, self._filled, self._kept(span)))

    def read(self, span: StepSpan, output: StepOutput) -> StepLogits:
        """Return the logits, and write keys and values of the chunk to the cache."""
        if output.update is None:
            raise ValueError("the graph `step` returned no keys and values")
        kept = self._kept(span)
        self._cache.write(output.update, self._written % self._slots)
        self._written += kept.stop - kept.start
        return super().read(span, output)

    def reset(self, frame: int) -> None:
        """Restart at a frame with an empty cache."""
        super().reset(frame)
        self._written = 0

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        content = self._cache.read(self._filled)
        return {**super().state(), "written": self._written, "cache": content}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        content = state["cache"]
        if content.dtype != self._cache.dtype:
            raise ValueError(f"keys and values are {content.dtype}, not {self._cache.dtype}")
        *outer, slots, inner = self._cache.shape
        if content.shape != (*outer, min(state["written"], slots), inner):
            raise ValueError(f"keys and values are {content.shape} of {self._cache.shape}")
        super().restore(state)
        self._written = state["written"]
        self._cache.load(content)

    def release(self) -> None:
        """Free the cache."""
        self._cache.release()
