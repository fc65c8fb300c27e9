"""Options of a run: device, backend, precision and threads."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from mms_engine.types import BackendName, Device, Precision

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

OptionsT = TypeVar("OptionsT", bound="DataclassInstance")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of every task that runs a bundle's graphs."""

    device: Device = "auto"
    """`auto` uses CUDA where it works, else the CPU."""
    backend: BackendName | None = None
    """Library that runs the graphs; `None` for the first usable one, TensorRT before others."""
    precision: "Precision | None" = None
    """`None` for the first the bundle has of fp32, int8, fp16 on a CPU, of fp16, bf16, fp32, int8
    on a GPU."""
    threads: int = 0
    """Threads of one run on a CPU; 0 for every core this process may use."""
    verify: bool | None = None
    """When a file of the bundle is checked against its SHA-256 before use: `None` for once, after
    which its size, times and inode are trusted; true for whenever it is opened; false for never."""
    adapter_cache_bytes: int = 0
    """Memory for resident adapters; at 1B a language takes about 10 MB in fp32, 5 MB in fp16.
    0 for the device's default: 1 GiB of host memory, three quarters of a GPU's free memory."""

    def __post_init__(self) -> None:
        if min(self.threads, self.adapter_cache_bytes) < 0:
            raise ValueError(f"threads and bytes must not be negative (0: the default): {self}")


def with_given(options: OptionsT, **given: object) -> OptionsT:
    """Return a dataclass of options with the values that are given, those not `None`."""
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(options, **changes)
