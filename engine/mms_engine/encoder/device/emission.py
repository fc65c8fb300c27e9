"""Logits of a batch in device memory."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaEvent, CudaStream
from mms_engine.types import Float32Array

LOGITS_DTYPES = {"float32": 0, "float16": 1, "uint16": 2}
"""Dtypes of device logits and the kernels' code for each; uint16 holds the bits of bfloat16."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceEmission:
    """Logits on the device; see `Emission`. The next batch of `stream` overwrites them."""

    logits: DeviceArray
    """Shape `[B, T, V]`, of a dtype in `LOGITS_DTYPES`, -inf beyond a row's own tokens; there may
    be more rows than segments."""
    lengths: tuple[int, ...]
    """Frames of each segment."""
    vocabs: tuple[int, ...]
    """Tokens of each segment's language."""
    ready: CudaEvent
    """Recorded after the run that writes them."""
    stream: CudaStream
    """Stream of that run and of the next one."""

    def __post_init__(self) -> None:
        if len(self.logits.shape) != 3 or str(self.logits.dtype) not in LOGITS_DTYPES:
            got = f"{self.logits.dtype}{list(self.logits.shape)}"
            raise ValueError(f"logits must be float32, float16 or uint16 [B, T, V], got {got}")

    def rows(self) -> list[Float32Array]:
        """Copy float32 logits to the host, each row's own only; see `Emission.rows`."""
        host = download_own(self.stream, self.logits, zip(self.lengths, self.vocabs, strict=True))
        self.stream.synchronize()
        return host


def download_own(
    stream: CudaStream, logits: DeviceArray, sizes: Iterable[tuple[int, int]]
) -> list[Float32Array]:
    """Enqueue copies of each row's own float32 logits, and return their targets.

    Logits of other languages may be many times as wide.

    Args:
        stream: Stream of the copies.
        logits: Shape `[B, T, V]`.
        sizes: Frames and tokens of each row, from the first on.
    """
    host = [np.empty(size, np.float32) for size in sizes]
    for index, own in enumerate(host):
        stream.download_columns(own, logits.row(index).rows(0, len(own)))
    return host
