"""Protocol of the searches on the GPU, greedy and beam."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mms_engine.cuda.memory import DeviceArray
from mms_engine.decoding.device.batch import Batch, DecodingStream
from mms_engine.decoding.device.state import TokenBuffers, TokenPiece
from mms_engine.decoding.hypothesis import Hypothesis


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Tokens that a launch settled, in device memory; the next launch overwrites them."""

    status: DeviceArray
    """`STATUS` of each row, `[B]`."""
    counts: DeviceArray
    """Number of tokens that can no longer change, int64 `[B]`."""
    tokens: TokenBuffers


class DeviceSearch(Protocol):
    """Search whose state is on the device. Called inside `CudaDevice.active`, by one thread."""

    def begin(self, streams: Sequence[DecodingStream]) -> None:
        """Allocate the state of streams."""

    def launch(self, batch: Batch) -> Settled:
        """Enqueue the decoding of a batch."""

    def finish(self, streams: Sequence[DecodingStream]) -> list[list[Hypothesis]]:
        """Return the best hypotheses of each stream."""

    def free(self) -> None:
        """Free the memory."""


def joined(pieces: Sequence[TokenPiece], score: float = 0.0, log_prob: float = 0.0) -> Hypothesis:
    """Return the hypothesis of consecutive pieces."""
    ids, starts, ends, scores = (
        np.concatenate([piece[name] for piece in pieces])
        for name in ("ids", "starts", "ends", "scores")
    )
    return Hypothesis(ids, starts, ends, scores, score, log_prob)
