"""Made posteriors that look like those of a wav2vec2 CTC model, from a seed.

A frame is 20 ms. Labels stand one or two frames wide between blanks, 12.5 a second (`DENSITY`),
at random distances. In each frame the winner's logit is drawn from N(12, 2), all others from
N(0, 1.5); where a label begins or ends the loser of the two stands U(1, 12) below the winner, and
in 5 % of all frames another token comes within Exp(2) of it. `peaky` is the log_softmax of that,
`diffuse` that of the same logits divided by 3.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from mms_engine.text.vocabulary import BLANK
from mms_engine.types import Float32Array

Shape = Literal["peaky", "diffuse"]

BOUNDARY = 4
TOKENS = (
    *("<pad>", "<s>", "</s>", "<unk>", "|"),
    *"etaoinshrdlcumwfgypbvkxjqz",
    "'",
)
"""The 32 tokens of wav2vec2's English vocabulary: blank, specials, word boundary, letters."""

DENSITY = 0.25
"""Labels a frame."""
DIFFUSE = 3.0
"""What the logits are divided by."""
_WINNER, _SPREAD, _NOISE = 12.0, 2.0, 1.5
_BESIDE = (1.0, 12.0)
_RIVALS = 0.05
_BLOCK = 4096


def posteriors(
    labels: Sequence[int], frames: int, vocab: int, shape: Shape, *, seed: int
) -> Float32Array:
    """Return natural-log probabilities `float32[frames, vocab]` of labels that are said in order.

    Raises:
        ValueError: the labels and the blanks that repeats need do not fit into the frames.
    """
    random = np.random.default_rng(seed)
    path = _spread(np.asarray(labels, np.int64), frames, random)
    out = np.empty((frames, vocab), np.float32)
    divisor = 1.0 if shape == "peaky" else DIFFUSE
    for start, logits in _logits(path, vocab, random):
        scaled = logits / divisor
        scaled -= scaled.max(axis=1, keepdims=True)
        scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        out[start : start + len(scaled)] = scaled
    return out


def random_labels(count: int, vocab: int, *, seed: int) -> list[int]:
    """Return labels that are not the blank, each as likely as any other."""
    found: list[int] = np.random.default_rng(seed).integers(1, vocab, count).tolist()
    return found


def _spread(
    labels: np.ndarray[tuple[int], np.dtype[np.int64]], frames: int, random: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the winner of each frame: the labels in order, blanks between them."""
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


def _logits(
    path: np.ndarray[tuple[int], np.dtype[np.int64]], vocab: int, random: np.random.Generator
) -> Iterator[tuple[int, np.ndarray[tuple[int, int], np.dtype[np.float64]]]]:
    """Yield blocks of logits with the frame each begins at."""
    before = np.concatenate([[BLANK], path[:-1]])
    after = np.concatenate([path[1:], [BLANK]])
    for start in range(0, len(path), _BLOCK):
        here = slice(start, start + _BLOCK)
        winner = path[here]
        rows = np.arange(len(winner))
        logits = random.normal(0.0, _NOISE, (len(winner), vocab))
        best = random.normal(_WINNER, _SPREAD, len(winner))
        rivals = random.integers(0, vocab, len(winner))
        close = random.random(len(winner)) < _RIVALS
        logits[rows[close], rivals[close]] = (best - random.exponential(2.0, len(winner)))[close]
        for neighbours in (before[here], after[here]):
            shared = neighbours != winner
            loser = (best - random.uniform(*_BESIDE, len(winner)))[shared]
            logits[rows[shared], neighbours[shared]] = loser
        logits[rows, winner] = best
        yield start, logits
