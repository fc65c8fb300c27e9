"""Alignment of letters with the frames of the teacher's phonemes."""

import re
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_STEPS = ((1, 1, 0.0), (2, 1, 1.0), (3, 1, 2.0), (1, 2, 1.0))  # words, groups, cost


def match_words(letters: list[int], symbols: list[int]) -> list[tuple[int, int]]:
    """Match words of so many letters with groups of so many phonemes, in order.

    espeak joins small words (`of the`) and parts a few. Return pairs (words, groups) that end
    together, or none if there is no such match.
    """
    rows, columns = len(letters), len(symbols)
    best = np.full((rows + 1, columns + 1), np.inf)
    best[0, 0] = 0.0
    origin: dict[tuple[int, int], tuple[int, int]] = {}
    for row in range(rows + 1):
        for column in range(columns + 1):
            for words, groups, extra in _STEPS:
                start = row - words, column - groups
                if min(start) < 0 or not np.isfinite(best[start]):
                    continue
                said = sum(symbols[start[1] : column])
                cost = best[start] + abs(sum(letters[start[0] : row]) - said) + extra
                if cost < best[row, column]:
                    best[row, column], origin[row, column] = cost, start
    ends = [(rows, columns)]
    while ends[-1] in origin:
        ends.append(origin[ends[-1]])
    return ends[-2:0:-1] if ends[-1] == (0, 0) else []


def expected_positions(text: str, ids: list[int], space: int) -> NDArray[np.float32]:
    """Return for each phoneme id of a sentence the letter id it is likely to belong to.

    Letter ids stand between blanks: letter i of the text is number 2 i + 1. The ends of words are
    fixed points, and positions between them are interpolated.
    """
    gaps = [at for at, letter in enumerate(text) if letter in " -"]
    pauses = [at for at, symbol in enumerate(ids) if symbol == space]
    letters = [len(word) for word in re.split("[ -]", text)]
    bounds = [0, *pauses, len(ids) - 1]
    symbols = [(end - start) // 2 for start, end in pairwise(bounds)]
    fixed = [(0, 0)]
    fixed += [(pauses[g - 1], 2 * gaps[w - 1] + 1) for w, g in match_words(letters, symbols)]
    fixed.append((len(ids) - 1, 2 * len(text)))
    known, positions = zip(*fixed, strict=True)
    return np.interp(np.arange(len(ids)), known, positions).astype(np.float32)


def monotonic_alignment(
    cost: NDArray[np.float32], frames: NDArray[np.int64], tokens: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the cheapest monotonic assignment of frames to tokens.

    Every token has at least one frame, so a row must have `frames` >= `tokens`.

    Args:
        cost: Cost of frame f in token t, shape [B, F, T].
        frames: Valid frames of each row, shape [B].
        tokens: Valid tokens of each row, shape [B].

    Returns:
        Token of each frame, shape [B, F]; beyond a row's frames its last token.
    """
    rows, most_frames, most_tokens = cost.shape
    best = np.full((rows, most_tokens + 1), np.inf, np.float32)
    best[:, 1] = cost[:, 0, 0]
    advanced = np.zeros((most_frames, rows, most_tokens), bool)
    for frame in range(1, most_frames):
        advanced[frame] = best[:, :-1] < best[:, 1:]
        best[:, 1:] = np.minimum(best[:, 1:], best[:, :-1]) + cost[:, frame]
    path = np.repeat((tokens - 1)[:, None], most_frames, axis=1)
    current, everyone = tokens - 1, np.arange(rows)
    for frame in range(most_frames - 1, 0, -1):
        inside = frame < frames
        path[:, frame] = current
        current = current - (inside & advanced[frame, everyone, current])
    path[:, 0] = current
    return path
