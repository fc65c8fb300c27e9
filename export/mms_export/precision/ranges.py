"""What a run's numbers look like: how large, and what a 16-bit type loses of them."""

from dataclasses import dataclass, field

import torch
from onnx import GraphProto, NodeProto
from torch import Tensor

from mms_export.precision.places import names

_MOVES = (
    *("Concat", "Gather", "Identity", "Reshape", "Slice", "Split"),
    *("Squeeze", "Transpose", "Unsqueeze"),
)
"""Operators that compute nothing: what they pass on has been counted where it arose."""


@dataclass(slots=True)
class Range:
    """The values of one tensor over all runs."""

    peak: float = 0.0
    """Largest magnitude among those that are finite before rounding."""
    values: int = 0
    overflowing: int = 0
    """Values that are finite before rounding and not finite after it."""
    subnormal: int = 0
    """Values below the smallest normal number of the type, zeros not counted."""

    def add(self, exact: Tensor, rounded: Tensor) -> None:
        """Take in what a node computed, and what became of it in a type."""
        size = exact.abs()
        finite = size.isfinite()
        if not finite.all():
            size = torch.where(finite, size, 0.0)
        self.peak = max(self.peak, float(size.max())) if size.numel() else self.peak
        self.values += size.numel()
        self.overflowing += int((finite & ~rounded.isfinite()).sum())
        small = size < torch.finfo(rounded.dtype).smallest_normal
        self.subnormal += int((small & (size > 0)).sum())

    def merge(self, other: "Range") -> None:
        """Take in the values of another tensor."""
        self.peak = max(self.peak, other.peak)
        self.values += other.values
        self.overflowing += other.overflowing
        self.subnormal += other.subnormal


@dataclass(slots=True)
class RangeObserver:
    """Collects the ranges of a graph's floats, node by node."""

    graph: GraphProto
    assumed: torch.dtype | None = None
    """The type whose limits count where the graph has float32; None leaves float32 out."""
    ranges: dict[str, Range] = field(default_factory=dict)
    """By the name of the tensor."""
    first_overflow: str = ""
    """What was the first to overflow in the first run that had an overflow."""
    _names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = names(self.graph)

    def see(self, node: NodeProto, index: int, exact: Tensor, result: Tensor) -> None:
        """Take note of output `index` of a node, as `Observer` says."""
        if node.op_type in _MOVES:
            return
        if result.dtype == torch.float32:
            if self.assumed is None:
                return
            result = exact.to(self.assumed)
        entry = self.ranges.setdefault(node.output[index], Range())
        entry.add(exact, result)
        if entry.overflowing and not self.first_overflow:
            self.first_overflow = self._names[node.name]
