"""Generated posteriors that resemble those of a wav2vec2 CTC model, from a seed.

A frame is 20 ms. Labels are one or two frames wide, 12.5 per second, with blanks between them. In
each frame the winner's logit is drawn from N(12, 2), all others from N(0, 1.5); where a label
begins or ends, the loser of the two is U(1, 12) below the winner, and in 5 % of all frames another
token comes within Exp(2) of it. `peaky` is the log_softmax of that, `diffuse` that of the same
logits divided by 3.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mms_bench.peers.base import Labels
from mms_engine.text.vocabulary import BLANK
from mms_engine.types import Float32Array
from mms_kernels.reference.greedy import log_softmax

Shape = Literal["peaky", "diffuse"]

DENSITY = 0.25
"""Labels per frame."""
_DIVISORS: dict[Shape, float] = {"peaky": 1.0, "diffuse": 3.0}


def posteriors(
    labels: Sequence[int], frames: int, vocab: int, shape: Shape, *, seed: int
) -> Float32Array:
    """Return natural-log probabilities `float32[frames, vocab]` of labels in order."""
    random = np.random.default_rng(seed)
    path = _spread(np.asarray(labels, np.int64), frames, random)
    logits = random.normal(0.0, 1.5, (frames, vocab))
    best = random.normal(12.0, 2.0, frames)
    rows = np.arange(frames)
    rivals = random.integers(0, vocab, frames)
    close = random.random(frames) < 0.05
    logits[rows[close], rivals[close]] = (best - random.exponential(2.0, frames))[close]
    for neighbours in (np.roll(path, 1), np.roll(path, -1)):
        shared = neighbours != path
        logits[rows[shared], neighbours[shared]] = (best - random.uniform(1, 12, frames))[shared]
    logits[rows, path] = best
    return log_softmax(logits / _DIVISORS[shape]).astype(np.float32)


def _spread(labels: Labels, frames: int, random: np.random.Generator) -> Labels:
    """Return the winner of each frame: the labels in order, with blanks between them."""
    needed = np.zeros(len(labels) + 1, np.int64)
    needed[1:-1] = labels[1:] == labels[:-1]
    spare = frames - len(labels) - int(needed.sum())
    if spare < 0:
        raise ValueError(f"{len(labels)} labels do not fit into {frames} frames")
    weights = random.exponential(size=len(labels) + 1)
    ends = np.floor(np.cumsum(weights) / weights.sum() * spare).astype(np.int64)
    ends[-1] = spare
    gaps = np.diff(ends, prepend=0) + needed
    path = np.full(frames, BLANK, np.int64)
    starts = np.cumsum(gaps[:-1]) + np.arange(len(labels))
    path[starts] = labels
    wide = (gaps[1:] > needed[1:] + 1) & (random.random(len(labels)) < 0.3)
    path[starts[wide] + 1] = labels[wide]
    return path
