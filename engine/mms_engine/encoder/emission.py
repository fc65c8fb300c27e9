"""Segments and the logits the encoder returns for a batch of them, on any device."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Consecutive frames of one utterance."""

    samples: Float32Array
    """Shape `[N]`, normalised: the samples of exactly these frames."""
    language: str
    """Code; not used by a model without adapters."""


class Emission(Protocol):
    """Logits of a batch of segments; valid inside the context of `Encoder.emission`."""

    def rows(self) -> list[Float32Array]:
        """Return each segment's logits in host memory, `[T, V]`: its own frames and tokens."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class HostEmission:
    """Logits in host memory."""

    logits: Float32Array
    """Shape `[B, T, V]`: T of the longest row, V of the largest vocabulary."""
    lengths: tuple[int, ...]
    """Frames of each row."""
    vocabs: tuple[int, ...]
    """Tokens of each row's language."""

    def rows(self) -> list[Float32Array]:
        """Return each segment's logits; see `Emission.rows`."""
        return [
            np.ascontiguousarray(row[:frames, :vocab], np.float32)
            for row, frames, vocab in zip(self.logits, self.lengths, self.vocabs, strict=False)
        ]
