"""Reference of forced alignment."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_kernels.align import Alignment

Float64Array = npt.NDArray[np.float64]


def align_log_probs(
    log_probs: Float64Array, target: npt.NDArray[Any], *, blank: int = 0
) -> Alignment:
    """Align one utterance over the states blank, token, blank, ..., token, blank.

    Args:
        log_probs: Shape `[T, V]`, T ≥ 1.
        target: Shape `[L]`.
        blank: Id of the blank.

    Returns:
        The best path on which every token begins earliest; its score is -inf if there is none.
    """
    states = np.full(2 * len(target) + 1, blank)
    states[1::2] = target
    score = np.full(len(states), -np.inf)
    score[:2] = log_probs[0, states[:2]]
    steps = []
    for frame in log_probs[1:]:
        # The least step first: argmax takes the first of equals.
        reached = np.full((3, len(states)), -np.inf)
        for step in range(3):
            reached[step, step:] = score[: len(states) - step]
        reached[2, 0::2] = -np.inf
        reached[2, 3::2][states[3::2] == states[1:-2:2]] = -np.inf
        steps.append(reached.argmax(axis=0))
        score = reached.max(axis=0) + frame[states]
    last = len(states) - 1
    if last > 0 and score[last - 1] > score[last]:
        last -= 1
    path = [last]
    for step in reversed(steps):
        path.append(path[-1] - step[path[-1]])
    return _to_alignment(np.array(path[::-1]), target, log_probs, float(score[last]))


def _to_alignment(
    path: npt.NDArray[np.int64], target: npt.NDArray[Any], log_probs: Float64Array, score: float
) -> Alignment:
    spans = []
    for state, group in itertools.groupby(range(len(path)), key=path.__getitem__):
        frames = list(group)
        if state % 2 == 1:
            mean = log_probs[frames, target[state // 2]].mean()
            spans.append((frames[0], frames[-1] + 1, mean))
    starts, ends, means = zip(*spans, strict=True) if spans else ((), (), ())
    return Alignment(
        np.array(target, np.int64),
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        np.array(means, np.float32),
        score,
    )
