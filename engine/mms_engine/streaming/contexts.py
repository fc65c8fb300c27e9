"""What the encoder runs on in each step of a stream, and what is kept of what it gives.

Frames are counted from the start of the stream. A context knows neither audio nor text.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mms_engine.backends.session import Array
from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: frames `[start, kept)` are decided by it, `[kept, end)` are its right context."""

    start: int
    kept: int
    end: int


class Ring(Protocol):
    """Keys and values that a stream keeps of earlier frames, wherever they lie, in no order."""

    shape: tuple[int, ...]
    """`[..., places, n]`, as a row of the graph's input `cache`."""
    dtype: "np.dtype[Any]"

    def keep(self, update: Any, at: int) -> None:  # noqa: ANN401
        """Put an update's frames into the places from `at` on, after the last into the first.

        Args:
            update: What the encoder gave beside this ring's row: `Encoded.update`.
            at: Place.
        """
        ...

    def content(self, filled: int) -> Array:
        """Return the first places in host memory, `[..., filled, n]`."""
        ...

    def fill(self, content: Array) -> None:
        """Put what `content` returned into the first places."""
        ...

    def release(self) -> None:
        """Give its memory back; it cannot be used any more."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What a step hears of earlier frames, and what it leaves."""

    ring: Ring
    filled: int
    """Places of it that hold something."""
    kept: slice
    """Frames of the step whose keys and values the ring will take."""


@dataclass(frozen=True, slots=True, eq=False)
class EncoderRow:
    """A row of an encoder run."""

    features: Float32Array
    """Shape `[history + T, F]`."""
    history: int = 0
    """Leading frames that are heard for their positions only; 0 without `memory`."""
    memory: Memory | None = None
    """`None` for the graph `encoder`, else the graph `cached` runs."""

    @property
    def frames(self) -> int:
        """T: frames that get logits."""
        return len(self.features) - self.history

    def write(self, target: Float32Array, before: int) -> None:
        """Write the features to `[heard, F]`, those with logits from `before` on, zeros around."""
        start = before - self.history
        end = start + len(self.features)
        target[:start] = target[end:] = 0
        target[start:end] = self.features


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What the encoder gave for a row."""

    logits: Float32Array
    """Shape `[T, V]`."""
    update: Any = None
    """Keys and values of the frames `Memory.kept`, as the ring takes them."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Logits in order of time."""

    kept: Float32Array
    """Shape `[N, V]`: final; follows the kept logits of the step before."""
    tail: Float32Array
    """Shape `[M, V]`: what comes after, as far as it was heard; the next step gives it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """A context's sizes in frames."""

    left: int
    chunk: int
    right: int


class Context(Protocol):
    """How a stream is cut into steps."""

    def plan(self, heard: int, *, ended: bool) -> Plan | None:
        """Return the next step, or `None` while more audio is needed.

        Args:
            heard: Frames whose audio is there.
            ended: Whether no more will come.
        """
        ...

    def row(self, plan: Plan, new: Float32Array) -> EncoderRow:
        """Return what the encoder runs on; `new` are the features that were not there before."""
        ...

    def read(self, plan: Plan, encoded: Encoded) -> Reading:
        """Take what the encoder gave, and return what is decided."""
        ...

    @property
    def featured(self) -> int:
        """Frames whose features are there already."""
        ...

    def reset(self, frame: int) -> None:
        """Begin anew at a frame, before which nothing is heard."""
        ...

    def state(self) -> dict[str, Any]:
        """Return all that has to be known to go on elsewhere."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            KeyError, ValueError: it is that of another context or model.
        """
        ...

    def release(self) -> None:
        """Give back what it holds on a device; it cannot go on."""
        ...


class FeatureTail:
    """The last features of a stream, found by their frame."""

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
        """Forget frames before one."""
        if before > self.first:
            self.rows = self.rows[before - self.first :].copy()
            self.first = before

    def reset(self, frame: int) -> None:
        """Forget everything; the next features are of `frame`."""
        self.first, self.rows = frame, self.rows[:0]


class ChunkedContext:
    """Steps of a fixed chunk: the part that `window` and `cached` share."""

    def __init__(self, sizes: Sizes, feature_size: int) -> None:
        self.sizes = sizes
        self.begin = 0
        self.features = FeatureTail(feature_size)
        self._next = 0

    @property
    def featured(self) -> int:
        """Frames whose features are there already."""
        return self.features.end

    def plan(self, heard: int, *, ended: bool) -> Plan | None:
        """Return the next step, which at the end of the audio takes all that is left."""
        start, sizes = self._next, self.sizes
        full = start + sizes.chunk + sizes.right
        if heard > full or (heard == full and not ended):
            return Plan(start, start + sizes.chunk, full)
        if ended and heard > start:
            return Plan(start, heard, heard)
        return None

    def read(self, plan: Plan, encoded: Encoded) -> Reading:
        """Keep the chunk."""
        self._next = plan.kept
        kept = plan.kept - plan.start
        return Reading(encoded.logits[:kept], encoded.logits[kept:])

    def reset(self, frame: int) -> None:
        """Begin anew at a frame."""
        self.begin = self._next = frame
        self.features.reset(frame)

    def state(self) -> dict[str, Any]:
        """Return all that has to be known to go on elsewhere."""
        return {
            "begin": self.begin,
            "next": self._next,
            "first": self.features.first,
            "rows": self.features.rows,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.begin, self._next = state["begin"], state["next"]
        self.features.first, self.features.rows = state["first"], state["rows"]

    def release(self) -> None:
        """Do nothing: features are in host memory."""


class WindowContext(ChunkedContext):
    """Left context, chunk and right context are encoded anew in each step."""

    def row(self, plan: Plan, new: Float32Array) -> EncoderRow:
        """Return the frames from the left context on."""
        self.features.append(new)
        self.features.forget(max(self.begin, plan.start - self.sizes.left))
        return EncoderRow(self.features.span(self.features.first, plan.end))

    def read(self, plan: Plan, encoded: Encoded) -> Reading:
        """Keep the chunk, which stands behind the left context."""
        left = len(encoded.logits) - (plan.end - plan.start)
        return super().read(plan, Encoded(encoded.logits[left:]))
