"""Plans of the stand-in for TensorRT: ONNX graph, profiles and target devices."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

MAGIC = b"CUDASIM PLAN\n"

Shape = tuple[int, ...]
Profile = Mapping[str, tuple[Shape, Shape, Shape]]
"""Smallest, best and largest shape of each input with dynamic dimensions, by name."""


@dataclass(frozen=True)
class SimulatedPlan:
    """Content of a plan."""

    graph: str
    """Absolute path of the `.onnx`, which is read when the plan is deserialised."""
    profiles: Sequence[Profile]
    version: str
    """Release of the runtime that can read it."""
    capabilities: Sequence[int] = ()
    """Compute capabilities such as 86 it was built for; empty for any."""
    weight_bytes: int = 1 << 20
    """Device memory of the engine."""
    scratch_bytes: int = 1 << 20
    """Scratch memory of a run of any shape."""
    scratch_per_value: int = 0
    """Further scratch memory of a run for each value of the first input: what its layers write."""
    resizes: bool = False
    """Whether a context asks for the scratch memory of its shapes, as a plan built with
    RUNTIME_ACTIVATION_RESIZE_10_10 does, or always for that of its profile's maxima."""
    allocates: bool = False
    """Whether a run allocates what it lacks, as one of TensorRT for RTX does, unless the plan was
    built with REQUIRE_USER_ALLOCATION."""
    gathered: Sequence[str] = field(default=())
    """Inputs of which a run reads only some rows; the others may be written meanwhile."""


def to_bytes(plan: SimulatedPlan) -> bytes:
    """Return the content of the plan's file."""
    return MAGIC + json.dumps(asdict(plan)).encode()


def from_bytes(data: bytes) -> SimulatedPlan:
    """Read a plan.

    Raises:
        ValueError: not such a plan, or a damaged one.
    """
    if not data.startswith(MAGIC):
        raise ValueError("the magic tag does not match")
    values = json.loads(data[len(MAGIC) :])
    if not Path(values["graph"]).is_file():
        raise ValueError(f"there is no {values['graph']}")
    return SimulatedPlan(**values)
