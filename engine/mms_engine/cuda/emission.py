"""Logits of a batch in device memory."""

from dataclasses import dataclass

import numpy as np

from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import Event, Stream
from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class DeviceBatch:
    """An `Emission` on the device. The next batch of `stream` overwrites it."""

    logits: DeviceArray
    """Float32 `[B, T, V]`, -inf behind a row's tokens; there may be more rows than segments."""
    lengths: tuple[int, ...]
    """Frames of each segment."""
    vocabs: tuple[int, ...]
    """Tokens of each segment's language."""
    ready: Event
    """After the run that writes them."""
    stream: Stream
    """Where that run is, and the next one will be."""

    def rows(self) -> list[Float32Array]:
        """Return those of each segment in host memory; see `Emission.rows`."""
        host = np.empty((len(self.lengths), *self.logits.shape[1:]), np.float32)
        self.stream.download(host, self.logits.rows(0, len(self.lengths)))
        self.stream.synchronize()
        return [
            np.ascontiguousarray(row[:frames, :vocab])
            for row, frames, vocab in zip(host, self.lengths, self.vocabs, strict=True)
        ]
