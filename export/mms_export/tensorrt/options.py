"""What a plan is built for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mms_engine.bundle.schema import HardwareCompatibility, Precision, Runtime
from mms_engine.encoder.windows import WindowOptions

UseName = Literal["streaming", "offline", "long"]
PLAN_PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16")
"""Precisions that plans are made of: TensorRT runs the types that stand in the graph."""
WIDEST = 100
"""How many times the shortest sound the longest of a profile may be: kernels are chosen for one
length, and lose beyond that (NVIDIA/TensorRT#3300)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One way a model is used: the sizes one optimisation profile is made for."""

    name: UseName
    batch: tuple[int, int, int]
    """Rows of a batch: fewest, those the kernels are chosen for, most."""
    seconds: tuple[float, float, float]
    """Audio in a row, likewise."""

    def limited(self, batch: int, seconds: float) -> "Use":
        """Return this use with other greatest sizes.

        Raises:
            ValueError: they are too small, or the lengths would spread too far.
        """
        shortest = self.seconds[0]
        if batch < 1 or not shortest <= seconds < WIDEST * shortest:
            raise ValueError(
                f"{self.name} takes a batch of at least 1 and from {shortest:g} s to less than "
                f"{WIDEST * shortest:g} s, not {batch} x {seconds:g} s"
            )
        few, usual, _ = self.batch
        return Use(
            name=self.name,
            batch=(few, min(usual, batch), batch),
            seconds=(shortest, min(self.seconds[1], seconds), seconds),
        )


_WINDOW = WindowOptions()
USES: dict[UseName, Use] = {
    use.name: use
    for use in (
        # A chunk with the context kept before it.
        Use(name="streaming", batch=(1, 16, 64), seconds=(0.5, 4, 10)),
        # The recognizer's windows, with their contexts on both sides.
        Use(
            name="offline",
            batch=(1, 8, 32),
            seconds=(1, _WINDOW.seconds, _WINDOW.seconds + 2 * _WINDOW.context_seconds),
        ),
        Use(name="long", batch=(1, 1, 4), seconds=(20, 45, 60)),
    )
}
"""The uses a plan is built for, in the order of its profiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How plans are built."""

    runtime: Runtime
    capabilities: tuple[str, ...] = ()
    """Compute capabilities, as `8.6`; none for the runtime's own choice."""
    uses: tuple[Use, ...] = field(default=tuple(USES.values()))
    """One optimisation profile each."""
    streams: bool = False
    """Whether the graph `cached` gets a plan too, which holds the encoder's weights once more."""
    workspace: int | None = None
    """Most bytes of scratch memory a kernel may take; `None` for all of the device."""
    timing_cache: Path | None = None
    """File of measured kernel times, read and written (`tensorrt` only)."""
    version_compatible: bool = False
    """Whether later releases of the runtime may read the plan (`tensorrt` only)."""
    hardware_compatibility: HardwareCompatibility = "none"
    """Which other GPUs may read the plan (`tensorrt` only)."""
    weight_streaming: bool = False
    """Whether weights may stay in host memory, for GPUs too small for them."""
