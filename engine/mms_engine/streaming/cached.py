"""The context that computes new frames only, and keeps keys and values of those before."""

from typing import Any

from mms_engine.streaming.contexts import (
    ChunkedContext,
    Encoded,
    EncoderRow,
    Memory,
    Plan,
    Reading,
    Ring,
    Sizes,
)
from mms_engine.types import Float32Array


class CachedContext(ChunkedContext):
    """Only new frames are encoded; of the left context its keys and values are kept."""

    def __init__(self, sizes: Sizes, feature_size: int, history: int, ring: Ring) -> None:
        """Begin with an empty memory.

        Args:
            sizes: In frames; `left` is the size of the ring.
            feature_size: F.
            history: Frames before a step that its positions hear.
            ring: Of `left` places, its own.
        """
        super().__init__(sizes, feature_size)
        self._history = history
        self._ring = ring
        self._written = 0

    @property
    def _places(self) -> int:
        return self._ring.shape[-2]

    @property
    def _filled(self) -> int:
        return min(self._written, self._places)

    def _kept(self, plan: Plan) -> slice:
        """Return the frames of a step that later ones hear: none where it ends the utterance."""
        end = plan.kept - plan.start
        return slice(max(0, end - self._places) if end <= self.sizes.chunk else end, end)

    def row(self, plan: Plan, new: Float32Array) -> EncoderRow:
        """Return the step's own frames and those before them that positions hear."""
        self.features.append(new)
        self.features.forget(max(self.begin, plan.start - self._history))
        features = self.features.span(self.features.first, plan.end)
        history = plan.start - self.features.first
        return EncoderRow(features, history, Memory(self._ring, self._filled, self._kept(plan)))

    def read(self, plan: Plan, encoded: Encoded) -> Reading:
        """Keep the chunk, and put its keys and values into the ring."""
        if encoded.update is None:
            raise ValueError("the cached encoder gave no keys and values")
        kept = self._kept(plan)
        self._ring.keep(encoded.update, self._written % self._places)
        self._written += kept.stop - kept.start
        return super().read(plan, encoded)

    def reset(self, frame: int) -> None:
        """Begin anew at a frame, the ring empty."""
        super().reset(frame)
        self._written = 0

    def state(self) -> dict[str, Any]:
        """Return all that has to be known to go on elsewhere."""
        ring = self._ring.content(self._filled)
        return {**super().state(), "written": self._written, "ring": ring}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        ring = state["ring"]
        if ring.dtype != self._ring.dtype:
            raise ValueError(f"keys and values are {ring.dtype}, not {self._ring.dtype}")
        *outer, places, inner = self._ring.shape
        if ring.shape != (*outer, min(state["written"], places), inner):
            raise ValueError(f"keys and values are {ring.shape} of {self._ring.shape}")
        super().restore(state)
        self._written = state["written"]
        self._ring.fill(ring)

    def release(self) -> None:
        """Give the ring's memory back."""
        self._ring.release()
