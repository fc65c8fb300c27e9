"""Reference of greedy decoding."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_kernels.greedy import GreedyResult


def log_softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the natural-log probabilities of each row.

    Args:
        logits: Shape `[T, V]`; no row is all -inf.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalized: npt.NDArray[np.float64] = shifted - np.log(
        np.exp(shifted).sum(axis=1, keepdims=True)
    )
    return normalized


def greedy_decode(logits: npt.NDArray[Any], *, blank: int = 0) -> GreedyResult:
    """Decode one utterance.

    Args:
        logits: Shape `[T, V]`.
        blank: Id of the blank.
    """
    best = logits.argmax(axis=1)  # the lowest id among equals
    log_probs = log_softmax(logits)[np.arange(len(best)), best]
    tokens, starts, ends, scores, peaks = [], [], [], [], []
    for token, group in itertools.groupby(range(len(best)), key=best.__getitem__):
        frames = list(group)
        if token != blank:
            tokens.append(token)
            starts.append(frames[0])
            ends.append(frames[-1] + 1)
            scores.append(log_probs[frames].mean())
            peaks.append(log_probs[frames].max())
    return GreedyResult(
        np.array(tokens, np.int32),
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        np.array(scores, np.float32),
        np.array(peaks, np.float32),
    )
