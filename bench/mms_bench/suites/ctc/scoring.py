"""Independent scores of results, in float64: one formula for every implementation."""

import numpy as np
import numpy.typing as npt

from mms_bench.peers.base import Labels, collapse
from mms_engine.text.vocabulary import BLANK
from mms_engine.types import Float32Array


def labelling_log_prob(log_probs: Float32Array, labels: npt.ArrayLike) -> float:
    """Return the natural-log probability of labels: the sum over all their CTC paths.

    `log_probs` is `[T, V]`; the result is -inf where the labels do not fit.
    """
    labels = np.asarray(labels, np.int64)
    if not len(log_probs):
        return -np.inf if len(labels) else 0.0
    states = np.full(2 * len(labels) + 1, BLANK, np.int64)
    states[1::2] = labels
    # A path may skip the blank between two labels that differ.
    skips = np.full(len(states), -np.inf)
    skips[3::2] = np.where(states[3::2] != states[1:-2:2], 0.0, -np.inf)
    skips[1:2] = 0.0
    # Two cells in front: before the first frame a path is on the second of them.
    alpha = np.full(len(states) + 2, -np.inf)
    alpha[1] = 0.0
    for frame in log_probs.astype(np.float64):
        entered = np.logaddexp(alpha[1:-1], alpha[:-2] + skips)
        alpha[2:] = np.logaddexp(alpha[2:], entered) + frame[states]
        alpha[1] = -np.inf
    return float(np.logaddexp(alpha[-1], alpha[-2]) if len(labels) else alpha[-1])


def path_log_prob(log_probs: Float32Array, path: Labels, targets: Labels) -> float:
    """Return the natural-log probability of an alignment's path `[T]`.

    ValueError if its labels are not the targets `[L]`.
    """
    if len(path) != len(log_probs) or not np.array_equal(collapse(path), targets):
        raise ValueError("the labels of the path are not the targets")
    return float(log_probs[np.arange(len(path)), path].astype(np.float64).sum())
