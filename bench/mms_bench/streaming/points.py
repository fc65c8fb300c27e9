"""Which contexts are measured."""

from dataclasses import dataclass

from mms_engine.asr.streaming import LATENCIES, ContextOptions
from mms_engine.types import ContextKind


@dataclass(frozen=True, slots=True)
class Point:
    """A context, by the name of its row."""

    name: str
    context: ContextOptions
    tentative: bool = False

    @property
    def series(self) -> str:
        """What its point is joined with in a plot."""
        return f"{self.context.kind}{', tentative' * self.tentative}"


def _point(kind: ContextKind, left: float, chunk: float, right: float = 0.0) -> Point:
    context = ContextOptions(kind=kind, left_seconds=left, chunk_seconds=chunk, right_seconds=right)
    sizes = "/".join(f"{value:g}" for value in (left, chunk, right))
    return Point(f"{kind} {sizes}", context)


PRESETS = tuple(Point(name, context) for name, context in LATENCIES.items())
POINTS = (
    *PRESETS,
    *(Point(f"{name}/tentative", context, True) for name, context in LATENCIES.items()),
    _point("cached", 5, 0.16, 0.16),
    _point("cached", 5, 0.32, 0.16),
    _point("cached", 5, 0.32, 0.32),
    _point("cached", 5, 0.48, 0.32),
    _point("cached", 5, 1, 0.48),
    _point("window", 5, 0.2, 0.24),
    _point("window", 5, 0.64, 0.32),
    _point("window", 10, 2, 1),
)
"""Named by left context, chunk and right context in seconds."""
