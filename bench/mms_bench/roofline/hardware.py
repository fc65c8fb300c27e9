"""What a processor can do at most."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from mms_bench.errors import BenchError
from mms_bench.roofline.work import Kind
from mms_engine.types import Precision

_TABLE = Path(__file__).with_name("gpus.toml")
# Float32 operations an element takes at the least; copies are counted as bytes alone.
_OPERATIONS: dict[Kind, int] = {"add": 1, "gelu": 8, "layer_norm": 6, "softmax": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Rates that bound the time of a block."""

    products: dict[Precision, float]
    """Floating-point operations a second in matrix products, by their operands."""
    elements: dict[Kind, float]
    """Elements a second of the work between products; what is left out costs no time."""
    bandwidth: float
    """Bytes a second from and to memory."""
    cache: float
    """Bytes: tensors up to this size are never read from memory again."""
    fuses: bool
    """Whether a block is one kernel in which products, elements and bytes overlap. Else each
    operation runs after the other and writes its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as its maker describes it."""

    key: str
    """As it is asked for."""
    name: str
    sm: str
    """Compute capability, as `8.6`."""
    fp16: float
    """TFLOP/s of the tensor cores: float16 operands, float32 sums, dense."""
    bf16: bool
    """Whether bfloat16 has that rate too; else there is none."""
    fp32: float
    """TFLOP/s of the CUDA cores."""
    bandwidth: float
    """GB/s of the memory."""
    memory: float
    """GB (10^9 bytes)."""
    cache: float
    """MB of L2."""
    link: float
    """GB/s from the host, one way; 0 where the host's memory is the GPU's."""
    reserve: float
    """GB left to the driver, its context and, where memory is shared, to the rest of the system."""
    source: str

    def hardware(self) -> Hardware:
        """Return its rates."""
        half = self.fp16 * 1e12
        products: dict[Precision, float] = {"fp16": half, "fp32": self.fp32 * 1e12}
        if self.bf16:
            products["bf16"] = half
        return Hardware(
            products=products,
            elements={kind: self.fp32 * 1e12 / each for kind, each in _OPERATIONS.items()},
            bandwidth=self.bandwidth * 1e9,
            cache=self.cache * 1e6,
            fuses=True,
        )


@dataclass(frozen=True, slots=True)
class _Table:
    gpu: tuple[Gpu, ...]


def gpus(names: tuple[str, ...] = ()) -> tuple[Gpu, ...]:
    """Return the GPUs called `names`, all without any.

    Raises:
        BenchError: a name is unknown.
    """
    table = msgspec.toml.decode(_TABLE.read_bytes(), type=_Table)
    known = {gpu.key: gpu for gpu in table.gpu}
    for name in names:
        if name not in known:
            raise BenchError(
                f"there is no GPU {name!r} in the table; choose from {', '.join(known)}"
            )
    return tuple(known[name] for name in names) or table.gpu
