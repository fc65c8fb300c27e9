"""Order of the clips in training, and the spans that SpecAugment masks, from a seed alone."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

MASK_FRAMES = 10
"""Length of a masked span, 0.2 s."""


def updates(frames: Sequence[int], most: int, seed: int) -> Iterator[list[int]]:
    """Yield the clips of one update of the weights after the other, without end.

    Every clip comes once in each pass over the corpus, in an order of its own.

    Args:
        frames: Length of each clip.
        most: Frames of an update; a longer clip is one of its own.
        seed: Seed of the order.
    """
    epoch = 0
    while True:
        order = np.random.default_rng((seed, 0, epoch)).permutation(len(frames)).tolist()
        chosen: list[int] = []
        total = 0
        for index in order:
            if chosen and total + frames[index] > most:
                yield chosen
                chosen, total = [], 0
            chosen.append(index)
            total += frames[index]
        yield chosen
        epoch += 1


def parts(clips: Sequence[int], frames: Sequence[int], most: int) -> list[list[int]]:
    """Return clips in batches of similar length that fit in memory together.

    Args:
        clips: Indices into `frames`.
        frames: Length of each clip.
        most: Frames of a batch, with its padding; a longer clip is a batch of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(clips, key=lambda index: -frames[index]):
        if batches and frames[batches[-1][0]] * (len(batches[-1]) + 1) <= most:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def masked_frames(
    frames: int, share: float, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Return which frames `[T]` of a clip SpecAugment masks: spans that may overlap.

    Args:
        frames: Length of the clip.
        share: Frames that begin a span, times its length, over all frames.
        generator: Source of the positions.
    """
    masked = np.zeros(frames, np.bool_)
    count = int(share * frames / MASK_FRAMES + generator.random())
    for start in generator.integers(0, max(frames - MASK_FRAMES, 0) + 1, size=count):
        masked[start : start + MASK_FRAMES] = True
    return masked
