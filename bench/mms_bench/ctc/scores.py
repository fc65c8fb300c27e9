"""Independent scores of results, in float64: the same formula for every implementation."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mms_engine.text.vocabulary import BLANK
from mms_engine.types import Float32Array

IntArray = npt.NDArray[np.integer]


def labelling_log_prob(log_probs: Float32Array, labels: Sequence[int] | IntArray) -> float:
    """Return the natural-log probability of a labelling: the sum over all its CTC paths.

    Args:
        log_probs: Shape `[T, V]`.
        labels: Without blanks; -inf is returned where they do not fit.
    """
    if not len(log_probs):
        return 0.0 if not len(labels) else -np.inf
    states = np.full(2 * len(labels) + 1, BLANK, np.int64)
    states[1::2] = labels
    # A path may pass over the blank between two labels that differ.
    skips = np.full(len(states), -np.inf)
    skips[3::2] = np.where(states[3::2] != states[1:-2:2], 0.0, -np.inf)
    skips[1:2] = 0.0
    # Two cells in front: before the first frame a path stands on the second of them.
    alpha = np.full(len(states) + 2, -np.inf)
    alpha[1] = 0.0
    for frame in log_probs.astype(np.float64):
        entered = np.logaddexp(alpha[1:-1], alpha[:-2] + skips)
        alpha[2:] = np.logaddexp(alpha[2:], entered) + frame[states]
        alpha[1] = -np.inf
    return float(np.logaddexp(alpha[-1], alpha[-2]) if len(labels) else alpha[-1])


def path_log_prob(log_probs: Float32Array, path: IntArray, targets: IntArray) -> float:
    """Return the natural-log probability of an alignment's path.

    Args:
        log_probs: Shape `[T, V]`.
        path: Shape `[T]`: the label of each frame.
        targets: Shape `[L]`: what the path has to read as.

    Raises:
        ValueError: it reads as something else.
    """
    if len(path) != len(log_probs) or not np.array_equal(collapse(path), targets):
        raise ValueError("the path does not read as the targets")
    return float(log_probs[np.arange(len(path)), path].astype(np.float64).sum())


def collapse(path: IntArray) -> IntArray:
    """Return what a path reads as: repeats taken once, blanks left out."""
    first = np.ones(len(path), bool)
    first[1:] = path[1:] != path[:-1]
    kept: IntArray = path[first & (path != BLANK)]
    return kept
