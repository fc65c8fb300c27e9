"""Running mean and variance of audio, for streams and for recordings whose level changes."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mms_engine.audio.normalization import EPSILON, Normalization
from mms_engine.types import Float32Array

_HOP_SECONDS = 0.02
_BLOCK_SECONDS = 1.0
_AHEAD_SECONDS = 1.0
"""Audio behind a block that its statistics include."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizationOptions:
    """Running mean and variance, in place of those of a whole utterance.

    They are taken over a prior (`prior_seconds` of mean 0 and level `prior_level`) and all audio
    so far, both weighted by `exp(-age / forget_seconds)`.
    """

    prior_seconds: float = 1.0
    """Length of the prior in seconds."""
    prior_level: float = 0.05
    """Standard deviation of the prior at a full scale of 1; -26 dB."""
    forget_seconds: float = 5.0
    """Time constant of the weights in seconds."""

    def __post_init__(self) -> None:
        numbers = (self.prior_seconds, self.prior_level, self.forget_seconds)
        if not all(number > 0 for number in numbers):
            raise ValueError(f"numbers must be positive: {self}")


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

    def __init__(
        self,
        options: NormalizationOptions,
        sample_rate: int,
        hop: int,
        epsilon: float = EPSILON,
    ) -> None:
        self._hop = hop
        self._epsilon = epsilon
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
        scale = 1 / math.sqrt(self._variance() + self._epsilon)
        return Normalization(self.moments.total / self.moments.weight, scale)

    def state(self) -> dict[str, Any]:
        """Return the sums."""
        moments = self.moments
        return {name: getattr(moments, name) for name in moments.__slots__}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the sums."""
        self.moments = Moments(**state)


@dataclass(frozen=True, slots=True)
class BlockNormalization:
    """Normalisation of a recording in blocks of 1 s, each by its running statistics."""

    block: int
    """Samples of a block."""
    blocks: tuple[Normalization, ...]
    """One for each block, the last also for samples behind it."""

    def apply_to(self, samples: Float32Array, span: slice) -> Float32Array:
        """Return a span of a recording `[N]`, normalised, as a new array."""
        last = len(self.blocks) - 1
        inner = range(-(-(span.start + 1) // self.block) * self.block, span.stop, self.block)
        edges = [span.start, *inner, span.stop]
        parts = [
            self.blocks[min(start // self.block, last)].apply(samples[start:end])
            for start, end in pairwise(edges)
        ]
        return np.concatenate(parts)


def running_statistics(
    samples: Float32Array,
    options: NormalizationOptions,
    sample_rate: int,
    epsilon: float = EPSILON,
) -> BlockNormalization:
    """Return the running normalisation of a recording.

    A block is normalised by the statistics up to 1 s behind its end, as in a step of a stream with
    1 s of right context; so it depends on the samples alone, not on how they are divided.

    Args:
        samples: Shape `[N]`; may be a memory map of hours.
        options: Running statistics.
        sample_rate: Sample rate, Hz.
        epsilon: Addend of the variance.
    """
    hop = round(_HOP_SECONDS * sample_rate)
    block = round(_BLOCK_SECONDS / _HOP_SECONDS) * hop
    ahead = round(_AHEAD_SECONDS / _HOP_SECONDS) * hop
    running = RunningNormalization(options, sample_rate, hop, epsilon)
    blocks, measured = [], 0
    for start in range(0, max(len(samples), 1), block):
        end = min(start + block + ahead, len(samples)) // hop * hop
        running.update(samples[measured:end])
        measured = end
        blocks.append(running.current())
    return BlockNormalization(block, tuple(blocks))
