"""What decoding on the device asks of a search, whichever it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mms_engine.cuda.decode_batch import Batch, DecodingStream
from mms_engine.cuda.decode_state import TokenBuffers, TokenPiece
from mms_engine.cuda.memory import DeviceArray
from mms_engine.decode import Hypothesis


@dataclass(frozen=True, slots=True, eq=False)
class Handed:
    """What a launch leaves on the device for the host; overwritten by the next."""

    status: DeviceArray
    """`STATUS` of each row, `[B]`."""
    counts: DeviceArray
    """Int64 `[B]`: tokens that can no longer change."""
    tokens: TokenBuffers


class Search(Protocol):
    """Streams whose state is on the device. Called inside `CudaDevice.active`, by one at a time."""

    def begin(self, streams: Sequence[DecodingStream]) -> None:
        """Give streams their slots."""

    def launch(self, batch: Batch) -> Handed:
        """Read a batch; returns at once."""

    def finish(self, streams: Sequence[DecodingStream]) -> list[list[Hypothesis]]:
        """Return of each stream the best hypotheses."""

    def free(self) -> None:
        """Give the memory back."""


def joined(pieces: Sequence[TokenPiece], score: float = 0.0, log_prob: float = 0.0) -> Hypothesis:
    """Return a hypothesis whose tokens came in pieces."""
    ids, starts, ends, scores = (
        np.concatenate([piece[name] for piece in pieces])
        for name in ("ids", "starts", "ends", "scores")
    )
    return Hypothesis(ids, starts, ends, scores, score, log_prob)
