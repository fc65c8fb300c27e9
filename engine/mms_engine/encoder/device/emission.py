"""Logits of a batch in device memory."""

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
        host = [np.empty(size, np.float32) for size in zip(self.lengths, self.vocabs, strict=True)]
        for index, row in enumerate(host):
            own = self.logits.row(index).rows(0, len(row))
            self.stream.download_columns(row, own)
        self.stream.synchronize()
        return host
