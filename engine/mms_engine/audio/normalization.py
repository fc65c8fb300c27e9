"""Normalisation of an utterance to zero mean and unit variance, as in training."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mms_engine.types import Float32Array

EPSILON = 1e-7
"""Addend of the variance in MMS, as in transformers' Wav2Vec2FeatureExtractor."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Normalization:
    """Affine map x -> (x - mean) * scale."""

    mean: float
    scale: float
    """1 / sqrt(population variance + epsilon)."""

    def apply(self, block: Float32Array) -> Float32Array:
        """Normalise consecutive samples, however the audio is divided.

        Args:
            block: Shape `[N]`.

        Returns:
            New array of shape `[N]`.
        """
        result = np.empty(len(block), np.float32)
        for start in range(0, len(block), _BLOCK):
            part = slice(start, start + _BLOCK)
            result[part] = (block[part].astype(np.float64) - self.mean) * self.scale
        return result

    def apply_to(self, samples: Float32Array, span: slice) -> Float32Array:
        """Return a span of audio `[N]`, normalised, as a new array."""
        return self.apply(samples[span])


def statistics(samples: Float32Array, epsilon: float = EPSILON) -> Normalization:
    """Return the normalisation of audio, computed in one pass over blocks, in float64.

    Args:
        samples: Shape `[N]`; may be a memory map of hours. The mean of no samples is 0.
        epsilon: Addend of the variance, `Wav2Vec2.normalize_epsilon` of the model.
    """
    return streamed_statistics([samples], epsilon)


def streamed_statistics(pieces: Iterable[Float32Array], epsilon: float = EPSILON) -> Normalization:
    """Return the normalisation of consecutive samples; it does not depend on how they are cut.

    Args:
        pieces: Arrays of shape `[N]`.
        epsilon: As for `statistics`.
    """
    count, mean, squares = 0, 0.0, 0.0
    for samples in _blocks(pieces):
        block = samples.astype(np.float64)
        # Merging the moments of blocks (Chan et al.) avoids the cancellation of E[x²] - E[x]².
        block_mean = float(block.mean())
        block -= block_mean
        total = count + len(block)
        delta = block_mean - mean
        # Not np.dot: its sum depends on the threads of BLAS, which also wait for each other in a
        # busy loop where several threads of the process use it.
        np.square(block, out=block)
        squares += float(block.sum()) + delta * delta * count * len(block) / total
        mean += delta * len(block) / total
        count = total
    variance = squares / count if count else 0.0
    return Normalization(mean=mean, scale=1.0 / math.sqrt(variance + epsilon))


def _blocks(pieces: Iterable[Float32Array]) -> Iterator[Float32Array]:
    """Yield the samples in blocks of `_BLOCK`, the last one shorter and none empty."""
    waiting: list[Float32Array] = []
    size = 0
    for piece in pieces:
        start = 0
        while size + len(piece) - start >= _BLOCK:
            end = start + _BLOCK - size
            yield np.concatenate([*waiting, piece[start:end]]) if waiting else piece[start:end]
            waiting, size, start = [], 0, end
        if start < len(piece):
            waiting.append(piece[start:])
            size += len(piece) - start
    if waiting:
        yield np.concatenate(waiting)


def normalize(samples: Float32Array, epsilon: float = EPSILON) -> Float32Array:
    """Return audio of zero mean and unit variance, as a new array of shape `[N]`."""
    return statistics(samples, epsilon).apply(samples)
