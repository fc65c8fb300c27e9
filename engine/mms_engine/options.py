"""What a caller may choose, in one place, with its default."""

from dataclasses import dataclass, field
from typing import Literal

from mms_engine.bundle.schema import Precision
from mms_engine.windows import WindowOptions

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizerOptions:
    """How a bundle is run."""

    device: Device = "auto"
    """`auto` takes CUDA where it works, else the CPU."""
    precision: Precision | None = None
    """`None` takes the first one the bundle has of fp32, int8, fp16 on a CPU,
    of fp16, bf16, fp32, int8 on a GPU."""
    threads: int = 0
    """Threads of one run on a CPU; 0 for every core this process may use."""
    verify: bool = True
    """Whether each file of the bundle is checked against its SHA-256 before it is used."""
    batch_frames: int = 0
    """Frames of one encoder run, padding included (20 ms each): the bound on memory.
    0 for the device's own: one full window on a CPU, sixteen on a GPU."""
    pool_seconds: float = 300.0
    """Audio read ahead, so that rows of like length can share a batch."""
    bank_bytes: int = 1 << 30
    """Memory for resident adapters; at 1B in fp32 a language takes about 10 MB."""
    salvage: bool = False
    """Whether a file that is cut off or damaged gives what can be decoded of it, not an error."""
    windows: WindowOptions = field(default_factory=WindowOptions)

    def __post_init__(self) -> None:
        if min(self.threads, self.batch_frames) < 0 or min(self.pool_seconds, self.bank_bytes) <= 0:
            raise ValueError(f"sizes must be positive (0 threads or frames: the default): {self}")
