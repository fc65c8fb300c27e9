"""Running mean and variance of a stream's audio."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mms_engine.asr.streaming.options import NormalizationOptions
from mms_engine.audio.normalization import EPSILON, Normalization
from mms_engine.types import Float32Array


@dataclass(slots=True)
class Moments:
    """Sums over past samples, weighted by age."""

    weight: float
    total: float
    squares: float


class RunningNormalization:
    """Running statistics by `NormalizationOptions`, updated hop by hop.

    After n hops they depend on those samples alone, not on how they were cut.
    """

    def __init__(self, options: NormalizationOptions, sample_rate: int, hop: int) -> None:
        self._hop = hop
        self._keep = math.exp(-hop / (options.forget_seconds * sample_rate))
        prior, level = options.prior_seconds * sample_rate, options.prior_level**2
        self.moments = Moments(prior, 0.0, prior * level)

    def update(self, samples: Float32Array) -> None:
        """Add whole hops, float32 `[n * hop]`."""
        blocks = samples.astype(np.float64).reshape(-1, self._hop)
        sums, squares = blocks.sum(axis=1), np.square(blocks).sum(axis=1)
        for total, square in zip(sums.tolist(), squares.tolist(), strict=True):
            moments = self.moments
            moments.weight = moments.weight * self._keep + self._hop
            moments.total = moments.total * self._keep + total
            moments.squares = moments.squares * self._keep + square

    @property
    def level(self) -> float:
        """Standard deviation of the audio at a full scale of 1."""
        return math.sqrt(self._variance())

    def _variance(self) -> float:
        moments = self.moments
        mean = moments.total / moments.weight
        return max(0.0, moments.squares / moments.weight - mean * mean)

    def current(self) -> Normalization:
        """Return the current normalisation."""
        scale = 1 / math.sqrt(self._variance() + EPSILON)
        return Normalization(self.moments.total / self.moments.weight, scale)

    def state(self) -> dict[str, Any]:
        """Return the sums."""
        moments = self.moments
        return {name: getattr(moments, name) for name in moments.__slots__}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the sums."""
        self.moments = Moments(**state)
