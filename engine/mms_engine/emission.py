"""What the encoder says of a batch, wherever it lies."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Frames of one utterance on their way into the encoder."""

    samples: Float32Array
    """Shape `[N]`, normalised: exactly those the frames are made of."""
    language: str


class Emission(Protocol):
    """Logits of a batch of segments; valid inside the `emission` of a model that gave it."""

    def rows(self) -> list[Float32Array]:
        """Return those of each segment in host memory, `[T, V]`: its own frames, its own tokens."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class HostEmission:
    """Logits in host memory."""

    logits: Float32Array
    """Shape `[B, T, V]`, of the longest row and the largest vocabulary."""
    lengths: tuple[int, ...]
    """Frames of each row."""
    vocabs: tuple[int, ...]
    """Tokens of each row's language."""

    def rows(self) -> list[Float32Array]:
        """Return those of each segment; see `Emission.rows`."""
        return [
            np.ascontiguousarray(row[:frames, :vocab], np.float32)
            for row, frames, vocab in zip(self.logits, self.lengths, self.vocabs, strict=False)
        ]
