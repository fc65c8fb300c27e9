"""Frames of tokens: along the best path, equal to an alignment of the output."""

import numpy as np
import pytest

from beam_cases import decode, frames_of, log_probs, sharp
from mms_kernels import reference_beam as oracle


def align(scores, tokens, blank=0):
    """Best path of a labelling by dynamic programming: its score and the frames of each token."""
    states = [blank]
    for token in tokens:
        states += [token, blank]
    best = np.full((len(scores) + 1, len(states)), -np.inf)
    came = np.zeros((len(scores) + 1, len(states)), int)
    best[0, 0] = 0.0
    for frame, row in enumerate(scores.astype(float)):
        for state, token in enumerate(states):
            sources = [state, state - 1]
            if state >= 2 and token not in (blank, states[state - 2]):
                sources.append(state - 2)
            sources = [source for source in sources if source >= 0]
            came[frame + 1, state] = max(sources, key=lambda source: best[frame, source])
            best[frame + 1, state] = best[frame, came[frame + 1, state]] + row[token]
    ends = [len(states) - 1, len(states) - 2] if len(states) > 1 else [0]
    state = max(ends, key=lambda end: best[-1, end])
    score, path = best[-1, state], []
    for frame in range(len(scores), 0, -1):
        path.append(state)
        state = came[frame, state]
    path = np.array(path[::-1])
    spans = [np.flatnonzero(path == 2 * i + 1) for i in range(len(tokens))]
    return score, [(int(span[0]), int(span[-1]) + 1) for span in spans]


def path_score(scores, hypothesis, blank=0):
    """The probability of the path that the frames of a hypothesis describe."""
    path = np.full(len(scores), blank)
    for token, (start, end) in zip(hypothesis.tokens, frames_of(hypothesis), strict=True):
        path[start:end] = token
    return scores[np.arange(len(scores)), path].astype(float).sum()


@pytest.mark.parametrize("spread", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("blank", [0, 2])
def test_frames_are_those_of_the_best_alignment(spread, blank):
    for seed in range(12):
        scores = log_probs(8, 3, seed, spread)
        for one in decode(scores, beam_size=1000, blank=blank):
            score, spans = align(scores, one.tokens.tolist(), blank)
            assert path_score(scores, one, blank) == pytest.approx(score, abs=1e-9)
            assert frames_of(one) == spans


def test_frames_of_long_audio_are_those_of_the_alignment():
    scores = sharp(400, 20, seed=4)
    (best,) = decode(scores, beam_size=50, nbest=1)
    score, spans = align(scores, best.tokens.tolist())
    assert path_score(scores, best) == pytest.approx(score, abs=1e-9)
    assert frames_of(best) == spans


def test_frames_are_in_order_and_within_the_audio():
    for seed in range(10):
        scores = log_probs(60, 5, seed, 1.0)
        for one in decode(scores, beam_size=30):
            ends = [0, *one.ends.tolist()]
            assert all(end <= start for end, start in zip(ends, one.starts.tolist(), strict=False))
            assert (one.starts < one.ends).all()
            assert ends[-1] <= 60


def test_first_and_last_frame():
    scores = np.log(np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], np.float32))
    best = decode(scores)[0]
    assert frames_of(best) == [(0, 1), (2, 3)]


def test_scores_and_peaks_are_mean_and_greatest_over_the_frames():
    scores = sharp(300, 12, seed=8)
    for one in decode(scores, beam_size=20):
        for i, (start, end) in enumerate(frames_of(one)):
            column = scores[start:end, one.tokens[i]]
            assert one.scores[i] == pytest.approx(column.mean(), abs=1e-5)
            assert one.peaks[i] == column.max()


def test_equal_paths_are_decided_as_in_the_reference():
    """Integers: of two equal paths the one that stays, and the one that ends in a blank."""
    generator = np.random.default_rng(0)
    for _ in range(60):
        scores = -generator.integers(0, 3, (6, 4)).astype(np.float32)
        wanted = oracle.beam_search(scores, oracle.Rules(1100))
        for one in decode(scores, beam_size=1100):
            assert frames_of(one) == list(wanted[tuple(one.tokens.tolist())].path.frames)
