"""Roofline model: the least time of a run, block by block.

A block takes max(products / peak, bytes / bandwidth); the blocks of a run depend on each other, so
their times add up. Launches, waiting and everything else that a program adds are left out: this is
a bound. (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mms_bench.errors import BenchError
from mms_bench.roofline.work import Block
from mms_engine.types import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Data sheet of a GPU; gpus.toml has the units."""

    key: str
    name: str
    fp16: float
    bf16: bool
    fp32: float
    bandwidth: float
    cache: float
    source: str

    def peak(self, precision: Precision) -> float | None:
        """Return floating-point operations per second in products, `None` if unsupported."""
        if precision == "fp32":
            return self.fp32 * 1e12
        return self.fp16 * 1e12 if precision == "fp16" or self.bf16 else None


def gpus() -> tuple[Gpu, ...]:
    """Return all data sheets."""
    content = Path(__file__).with_name("gpus.toml").read_bytes()
    return msgspec.toml.decode(content, type=dict[str, tuple[Gpu, ...]])["gpu"]


def bound(work: Sequence[Block], precision: Precision, gpu: Gpu) -> dict[str, float]:
    """Return the seconds of the blocks limited by `products` and by `bandwidth`."""
    peak, cache = gpu.peak(precision), gpu.cache * 1e6
    if peak is None:
        raise BenchError(f"{gpu.name} has no products in {precision}")
    resident = sum(block.weights * block.repeats for block in work) <= cache
    limits = {"products": 0.0, "bandwidth": 0.0}
    for block in work:
        moved = 0.0 if resident else block.weights
        moved += sum(size for size in block.edges if size > cache)
        products, bandwidth = block.products / peak, moved / (gpu.bandwidth * 1e9)
        limit = "products" if products > bandwidth else "bandwidth"
        limits[limit] += max(products, bandwidth) * block.repeats
    return limits
