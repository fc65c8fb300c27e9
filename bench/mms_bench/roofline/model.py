"""Roofline model: the least time of a run, block by block, and the memory it needs.

A block takes max(products / peak, elements / rate, bytes / bandwidth); the blocks of a run depend
on each other, so their times add up. Launches, waiting and everything else that a program adds are
left out: this is a bound. (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from mms_bench.errors import BenchError
from mms_bench.roofline.work import ITEMSIZE, Block, Load, blocks
from mms_engine.bundle.manifest import Precision, Wav2Vec2Ctc

_FRONTEND_FRAMES = 100
"""Frames that the frontend runs on at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Data sheet of a GPU; gpus.toml has the units."""

    key: str
    name: str
    sm: str
    fp16: float
    bf16: bool
    fp32: float
    bandwidth: float
    memory: float
    cache: float
    link: float
    reserve: float
    source: str

    def peak(self, precision: Precision) -> float | None:
        """Return floating-point operations per second in products, `None` if unsupported."""
        if precision == "fp32":
            return self.fp32 * 1e12
        return self.fp16 * 1e12 if precision == "fp16" or self.bf16 else None


@dataclass(frozen=True, slots=True)
class _Table:
    gpu: tuple[Gpu, ...]


def gpus(names: Sequence[str] = ()) -> tuple[Gpu, ...]:
    """Return the GPUs called `names`, or all; BenchError if a name is unknown."""
    content = Path(__file__).with_name("gpus.toml").read_bytes()
    known = {gpu.key: gpu for gpu in msgspec.toml.decode(content, type=_Table).gpu}
    for name in names:
        if name not in known:
            raise BenchError(f"there is no GPU {name!r}; choose from {', '.join(known)}")
    return tuple(known[name] for name in names or known)


def bound(work: Sequence[Block], precision: Precision, gpu: Gpu) -> dict[str, float]:
    """Return the seconds of the blocks limited by `products`, `elements` and `bandwidth`."""
    peak, cache = gpu.peak(precision), gpu.cache * 1e6
    if peak is None:
        raise BenchError(f"{gpu.name} has no products in {precision}")
    resident = sum(block.weights * block.repeats for block in work) <= cache
    limits = {"products": 0.0, "elements": 0.0, "bandwidth": 0.0}
    for block in work:
        moved = 0.0 if resident else block.weights
        moved += sum(size for size in block.edges if size > cache)
        times = {
            "products": block.products / peak,
            "elements": block.elements / (gpu.fp32 * 1e12),
            "bandwidth": moved / (gpu.bandwidth * 1e9),
        }
        longest = max(times, key=lambda name: times[name])
        limits[longest] += times[longest] * block.repeats
    return limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Device memory in bytes."""

    weights: float
    """Both graphs, without languages."""
    activations: float
    """All tensors of a run's largest block: what an unfused runtime holds."""
    language: float
    """One row of the adapter bank: adapters, head weights and biases."""

    def languages(self, gpu: Gpu) -> int:
        """Return how many languages fit beside the rest."""
        free = (gpu.memory - gpu.reserve) * 1e9 - self.weights - self.activations
        return max(0, int(free // self.language))


def footprint(architecture: Wav2Vec2Ctc, load: Load) -> Footprint:
    """Return the memory of a run."""
    alone = replace(load, languages=0)
    piece = replace(alone, frames=min(load.frames, _FRONTEND_FRAMES))
    work = blocks(architecture, alone)
    held = [block for block in blocks(architecture, piece) if block.stage == "convolutions"]
    held += [block for block in work if block.stage != "convolutions"]
    row = architecture.adapter_parameters + load.vocab * (architecture.hidden_size + 1)
    return Footprint(
        weights=sum(block.weights * block.repeats for block in work),
        activations=max(sum(block.edges) + sum(block.inner) for block in held),
        language=float(row * ITEMSIZE[load.precision]),
    )
