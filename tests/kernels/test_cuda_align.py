"""Forced alignment on the emulated device."""

import itertools

import numpy as np
import pytest

from cuda_emulation import Device, align, codes, to_bfloat16
from mms_kernels.cuda.arguments import Code


def best_path(log_probs, target, blank=0, star=None):
    """The plain dynamic programme: the score and, among the best paths, the one that is ahead."""
    columns = {blank: log_probs[:, blank].astype(np.float64)}
    for token in set(target):
        starred = star is not None and token == star[0]
        columns[token] = np.full(len(log_probs), star[1]) if starred else log_probs[:, token]
    states = [blank]
    for token in target:
        states += [token, blank]
    never = -np.inf
    scores = [0.0] + [never] * (len(states) - 1)
    came_from = []
    for t in range(len(log_probs)):
        row, origin = [], []
        for s, token in enumerate(states):
            reach = [s]
            if s >= 1:
                reach.append(s - 1)
            if s >= 2 and s % 2 == 1 and token != states[s - 2]:
                reach.append(s - 2)
            if t == 0:
                reach = [0] if s <= 1 else []
            best = max(reach, key=lambda r: scores[r], default=s)
            row.append(scores[best] + columns[token][t] if reach else never)
            origin.append(best)
        scores = row
        came_from.append(origin)
    state = len(states) - 1
    if state and scores[-2] > scores[-1]:
        state -= 1
    score, path = scores[state], []
    for origin in reversed(came_from):
        path.append(state)
        state = origin[state]
    path.reverse()
    spans = [
        (path.index(2 * j + 1), len(path) - path[::-1].index(2 * j + 1)) for j in range(len(target))
    ]
    return score, spans


def random_case(rng, *, integers):
    frames = int(rng.integers(1, 40))
    vocab = int(rng.integers(2, 6))
    if integers:
        log_probs = -rng.integers(0, 4, (frames, vocab)).astype(np.float32)
    else:
        log_probs = rng.normal(-3, 2, (frames, vocab)).astype(np.float32)
    target = []
    while True:
        longer = [*target, int(rng.integers(1, vocab))]
        repeats = sum(a == b for a, b in itertools.pairwise(longer))
        if len(longer) + repeats > frames or rng.random() < 0.08:
            return log_probs, target
        target = longer


def check(row, log_probs, target, result, **options):
    status, path_scores, spans = result
    assert status["code"][row] == Code.OK
    score, expected = best_path(log_probs, target, **options)
    starts, ends, scores = spans[row]
    assert list(zip(starts, ends, strict=True)) == expected
    assert path_scores[row] == pytest.approx(score, rel=1e-7, abs=1e-6)
    star = options.get("star")
    for token, start, end, mean in zip(target, starts, ends, scores, strict=True):
        starred = star is not None and token == star[0]
        wanted = star[1] if starred else log_probs[start:end, token].astype(np.float64).mean()
        assert mean == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_plain_programme(emulated, seed, integers):
    """Integers: nearly every case has ties."""
    rng = np.random.default_rng(seed)
    cases = [random_case(rng, integers=integers) for _ in range(60)]
    lengths = [len(log_probs) for log_probs, _ in cases]
    vocab = max(log_probs.shape[1] for log_probs, _ in cases)
    data = np.full((len(cases), max(lengths), vocab), np.nan, np.float32)
    for row, (log_probs, _) in enumerate(cases):
        data[row, : lengths[row], : log_probs.shape[1]] = log_probs
        data[row, : lengths[row], log_probs.shape[1] :] = -50
    device = Device(emulated, seed=seed, threads=32 << seed)
    targets = [target for _, target in cases]
    result = align(device, data, targets, lengths=lengths, shared=seed != 1)
    for row, (log_probs, target) in enumerate(cases):
        check(row, log_probs, target, result)


@pytest.mark.parametrize("slack", [0, 1, 2, 60])
def test_long_targets_cross_words_of_bits(emulated, slack):
    rng = np.random.default_rng(slack)
    target = rng.integers(1, 4, 100).tolist()
    repeats = sum(a == b for a, b in itertools.pairwise(target))
    log_probs = rng.normal(-3, 2, (100 + repeats + slack, 4)).astype(np.float32)
    for threads in (32, 128):
        result = align(Device(emulated, threads=threads), log_probs[None], [target])
        check(0, log_probs, target, result)


def test_star_is_a_column_that_is_not_there(device):
    rng = np.random.default_rng(0)
    log_probs = rng.normal(-3, 1, (30, 5)).astype(np.float32)
    for star in ((-1, 0.0), (9, -1.5)):
        target = [star[0], 1, 2, star[0], 3]
        result = align(device, log_probs[None], [target], star=star)
        check(0, log_probs, target, result, star=star)


def test_logits_and_halves_are_normalised(device):
    logits = np.random.default_rng(1).normal(0, 3, (1, 40, 30)).astype(np.float32)
    wide = (to_bfloat16(logits).astype(np.uint32) << 16).view(np.float32)
    for data, values in ((logits, logits), (to_bfloat16(logits), wide)):
        x = values[0].astype(np.float64)
        log_probs = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
        target = [3, 3, 29, 1, 5]
        _, path_scores, spans = align(device, data, [target], kind="logits", blank=2)
        score, expected = best_path(log_probs, target, blank=2)
        assert list(zip(spans[0][0], spans[0][1], strict=True)) == expected
        assert path_scores[0] == pytest.approx(score, rel=1e-5)


def test_edges_have_codes(device):
    data = np.zeros((9, 3, 2), np.float32)
    data[6, 1] = np.nan
    data[7, :, 1] = -np.inf
    targets = [[], [1], [1, 1], [1, 1, 1], [0], [2], [1], [1], [1]]
    status, path_scores, spans = align(device, data, targets, lengths=[0, 0, 3, 3, 3, 3, 3, 3, 4])
    assert codes(status) == [
        Code.OK,
        Code.INFEASIBLE,
        Code.OK,
        Code.INFEASIBLE,
        Code.TARGET,
        Code.TARGET,
        Code.NAN,
        Code.IMPOSSIBLE,
        Code.LENGTH,
    ]
    assert status["frame"][6] == 1
    assert path_scores[0] == 0
    assert spans[2][0].tolist() == [0, 2]
    assert spans[2][1].tolist() == [1, 3]
    assert np.isneginf(path_scores[[1, 3, 4, 5, 6, 7, 8]]).all()


def test_every_order_of_threads_gives_the_same_bits(emulated):
    log_probs = np.random.default_rng(2).normal(-3, 2, (2, 50, 6)).astype(np.float32)
    targets = [[1, 2, 3, 3, 4], [5] * 20]
    expected = align(Device(emulated, threads=32), log_probs, targets)
    for seed in range(1, 5):
        got = align(Device(emulated, seed=seed, threads=96), log_probs, targets)
        assert got[0].tobytes() == expected[0].tobytes()
        assert got[1].tobytes() == expected[1].tobytes()
        for one, other in zip(got[2], expected[2], strict=True):
            assert [a.tobytes() for a in one] == [a.tobytes() for a in other]
