"""Options of TensorRT plans."""

from dataclasses import dataclass, field
from typing import Literal

from mms_engine.bundle.manifest import Runtime
from mms_engine.encoder.windows import WindowOptions
from mms_engine.types import Precision

UseName = Literal["streaming", "offline", "long"]
PLAN_PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16")
"""Precisions of plans; TensorRT runs the types of the graph."""
MAX_LENGTH_RATIO = 100
"""Bound on the ratio of longest to shortest audio in a profile: kernels are chosen for one length
and slow down far from it (NVIDIA/TensorRT#3300)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use of a model, with an optimisation profile of its own: minimum, optimum, maximum."""

    name: UseName
    batch: tuple[int, int, int]
    """Rows of a batch."""
    seconds: tuple[float, float, float]
    """Duration of a row's audio."""

    def limited(self, batch: int, seconds: float) -> "Use":
        """Return this use with other maxima.

        Raises:
            ValueError: they are too small, or the range of durations is too wide.
        """
        shortest = self.seconds[0]
        if batch < 1 or not shortest <= seconds < MAX_LENGTH_RATIO * shortest:
            raise ValueError(
                f"{self.name} takes a batch of at least 1 and from {shortest:g} s to less than "
                f"{MAX_LENGTH_RATIO * shortest:g} s, not {batch} x {seconds:g} s"
            )
        low, usual, _ = self.batch
        return Use(
            name=self.name,
            batch=(low, min(usual, batch), batch),
            seconds=(shortest, min(self.seconds[1], seconds), seconds),
        )


_WINDOW = WindowOptions()
USES: dict[UseName, Use] = {
    use.name: use
    for use in (
        # A chunk with its left context.
        Use(name="streaming", batch=(1, 4, 16), seconds=(0.5, 4, 10)),
        # The recognizer's windows, with context on both sides.
        Use(
            name="offline",
            batch=(1, 4, 16),
            seconds=(1, _WINDOW.seconds, _WINDOW.seconds + 2 * _WINDOW.context_seconds),
        ),
        Use(name="long", batch=(1, 1, 4), seconds=(20, 45, 60)),
    )
}
"""Default uses, in the order of a plan's profiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Runtime, GPUs and profiles of the plans."""

    runtime: Runtime
    capabilities: tuple[str, ...] = ()
    """Compute capabilities in the form `8.6`; empty for the runtime's default."""
    uses: tuple[Use, ...] = field(default=tuple(USES.values()))
    """One optimisation profile each."""
