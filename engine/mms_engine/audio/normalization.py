"""Zero mean and unit variance over an utterance, as the models were trained."""

import math
from dataclasses import dataclass

import numpy as np

from mms_engine.types import Float32Array

EPSILON = 1e-7
"""Added to the variance, as transformers' Wav2Vec2FeatureExtractor does."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Normalization:
    """The map x -> (x - mean) * scale."""

    mean: float
    scale: float
    """1 / sqrt(population variance + 1e-7)."""

    def apply(self, block: Float32Array) -> Float32Array:
        """Map samples of any part of the sound.

        Args:
            block: Shape `[N]`.

        Returns:
            A new array of shape `[N]`; a sample's value does not depend on where the cuts are.
        """
        result = np.empty(len(block), np.float32)
        for start in range(0, len(block), _BLOCK):
            part = slice(start, start + _BLOCK)
            result[part] = (block[part].astype(np.float64) - self.mean) * self.scale
        return result


def statistics(samples: Float32Array) -> Normalization:
    """Return the normalisation of a sound, reading it once in blocks, in float64.

    Args:
        samples: Shape `[N]`; may be a memory map of hours. Of no samples the mean is 0.
    """
    count, mean, squares = 0, 0.0, 0.0
    for start in range(0, len(samples), _BLOCK):
        block = samples[start : start + _BLOCK].astype(np.float64)
        # Joining the blocks' moments (Chan et al.) keeps what E[x²] - E[x]² would cancel.
        block_mean = float(block.mean())
        block -= block_mean
        total = count + len(block)
        delta = block_mean - mean
        squares += float(np.dot(block, block)) + delta * delta * count * len(block) / total
        mean += delta * len(block) / total
        count = total
    variance = squares / count if count else 0.0
    return Normalization(mean=mean, scale=1.0 / math.sqrt(variance + EPSILON))


def normalize(samples: Float32Array) -> Float32Array:
    """Return the sound at zero mean and unit variance, shape `[N]`, as a new array."""
    return statistics(samples).apply(samples)
