"""The least time that work takes on hardware: the roofline model, block by block.

A block that is fused takes max(products / peak, elements / rate, bytes / bandwidth); one that is
not takes that of each operation, one after the other. Blocks depend on each other, so their times
add up. Launches, waiting and everything else that a program adds is left out: this is a bound.
(Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mms_bench.errors import BenchError
from mms_bench.roofline.hardware import Hardware
from mms_bench.roofline.work import Block, Load, Operation, Stage
from mms_engine.types import Precision

Limit = Literal["products", "elements", "bandwidth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds by what they are spent on."""

    products: float = 0.0
    elements: float = 0.0
    bandwidth: float = 0.0

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.products + self.elements + self.bandwidth

    @property
    def limit(self) -> Limit:
        """What takes the most."""
        parts: dict[Limit, float] = {
            "products": self.products,
            "elements": self.elements,
            "bandwidth": self.bandwidth,
        }
        return max(parts, key=lambda name: parts[name])

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            products=self.products + other.products,
            elements=self.elements + other.elements,
            bandwidth=self.bandwidth + other.bandwidth,
        )

    def times(self, count: int) -> "Cost":
        """Return the cost of doing it `count` times."""
        return Cost(
            products=self.products * count,
            elements=self.elements * count,
            bandwidth=self.bandwidth * count,
        )


def bound(work: Sequence[Block], load: Load, hardware: Hardware) -> dict[Stage, Cost]:
    """Return the least time of each stage of a run.

    Raises:
        BenchError: the hardware has no products of that precision.
    """
    if load.precision not in hardware.products:
        raise BenchError(f"this hardware has no products in {load.precision}")
    total = sum(block.weights * block.repeats for block in work)
    resident = total <= hardware.cache
    found: dict[Stage, Cost] = {}
    for block in work:
        cost = _block(block, load.precision, hardware, weights=0 if resident else block.weights)
        found[block.stage] = found.get(block.stage, Cost()) + cost.times(block.repeats)
    return found


def seconds(costs: dict[Stage, Cost], *stages: Stage) -> float:
    """Return the time of some stages together, of all without any."""
    return sum(cost.seconds for stage, cost in costs.items() if not stages or stage in stages)


def whole(costs: dict[Stage, Cost]) -> Cost:
    """Return the time of all stages together."""
    return sum(costs.values(), Cost())


def _block(block: Block, precision: Precision, hardware: Hardware, *, weights: float) -> Cost:
    operations = block.operations
    products = sum(
        op.amount / _peak(op, precision, hardware) for op in operations if op.kind == "product"
    )
    elements = sum(
        op.amount / hardware.elements[op.kind] for op in operations if op.kind in hardware.elements
    )
    tensors = block.edges if hardware.fuses else (*block.edges, *block.inner, *block.inner)
    traffic = weights + sum(size for size in tensors if size > hardware.cache)
    moved = traffic / hardware.bandwidth
    if hardware.fuses:
        longest = max(products, elements, moved)
        return Cost(
            products=products if products == longest else 0,
            elements=elements if products < longest == elements else 0,
            bandwidth=moved if max(products, elements) < longest else 0,
        )
    # What moves while it is multiplied or changed costs only what it takes longer.
    return Cost(
        products=products, elements=elements, bandwidth=max(0.0, moved - products - elements)
    )


def _peak(operation: Operation, precision: Precision, hardware: Hardware) -> float:
    """Return the rate of a product; what int8 does not quantise is a product of floats."""
    if precision == "int8" and not operation.quantized:
        return hardware.products["fp32"]
    return hardware.products[precision]
