"""The prefix beam against all paths, the reference and the forward recursion."""

import math

import numpy as np
import pytest

from beam_cases import assert_same, close, decode, for_every_isa, frames_of, log_probs, sharp, texts
from mms_kernels import reference_beam as oracle

EVERY = 1100
"""A beam that nothing of the small cases falls out of: 3^0 + ... + 3^6 labellings are 1,093."""


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0, 10.0])
def test_open_beam_finds_every_labelling_with_the_sum_of_its_paths(spread):
    generator = np.random.default_rng(int(spread * 10))
    for seed in range(500):
        frames, vocab = generator.integers(0, 7), generator.integers(1, 5)
        blank = int(generator.integers(vocab))
        scores = log_probs(frames, vocab, seed, spread)
        sums = oracle.labellings(scores.astype(float), blank)
        found = for_every_isa(lambda: decode(scores, beam_size=EVERY, blank=blank))  # noqa: B023
        for other in found[1:]:
            assert_same(found[0], other)
        assert sorted(texts(found[0])) == sorted(sums)
        values = [one.log_prob for one in found[0]]
        assert values == sorted(values, reverse=True)
        assert all(close(one.log_prob, sums[tuple(one.tokens)]) for one in found[0])
        assert np.exp(values).sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 2, 3, 8, 9, 20, 64])
@pytest.mark.parametrize("spread", [0.3, 3.0, 10.0])
def test_equals_the_reference(beam_size, spread):
    generator = np.random.default_rng(beam_size)
    for seed in range(15):
        frames, vocab = generator.integers(0, 40), generator.integers(1, 14)
        blank = int(generator.integers(vocab))
        rules = {"beam_size": beam_size, "blank": blank}
        if seed % 3 == 1:
            rules["token_min_logp"] = -3.0
        if seed % 5 == 1:
            rules["beam_threshold"] = 4.0
        if seed % 7 == 1:
            rules["blank_skip"] = 0.5
        scores = log_probs(frames, vocab, seed, spread, blank)
        wanted = oracle.beam_search(scores, oracle.Rules(**rules))
        found = for_every_isa(lambda: decode(scores, **rules))  # noqa: B023
        for other in found[1:]:
            assert_same(found[0], other)
        assert texts(found[0]) == list(wanted)
        for one, prefix in zip(found[0], wanted.values(), strict=True):
            assert close(one.log_prob, prefix.total)
            assert one.score == one.log_prob
            assert frames_of(one) == list(prefix.path.frames)


@pytest.mark.parametrize("vocab", [40, 130, 700])
def test_only_tokens_that_cannot_win_are_left_out(vocab):
    """A vocabulary much larger than 2 * beam + 2, flat, so that many tokens are close."""
    for seed in range(3):
        scores = log_probs(6, vocab, seed, 0.2)
        for beam_size in (1, 6):
            wanted = oracle.beam_search(scores, oracle.Rules(beam_size))
            found = decode(scores, beam_size=beam_size)
            assert texts(found) == list(wanted)
            for one, prefix in zip(found, wanted.values(), strict=True):
                assert close(one.log_prob, prefix.total)


@pytest.mark.parametrize(
    ("frames", "vocab", "beam_size", "loss"),
    [(12, 3, 9000, 1e-9), (300, 20, 100, 0.02), (2000, 20, 100, 0.2)],
)
def test_log_prob_is_that_of_the_labelling(frames, vocab, beam_size, loss):
    """Paths through prefixes that fell out of the beam are lost, so it can only be lower."""
    scores = sharp(frames, vocab)
    for one in decode(scores, beam_size=beam_size, nbest=5):
        whole = oracle.labelling_log_prob(scores, tuple(one.tokens.tolist()))
        assert whole - loss <= one.log_prob <= whole + 1e-9 * frames


def test_best_labelling_is_not_that_of_the_best_path():
    scores = np.log(np.array([[0.6, 0.4]] * 2, np.float32))
    best, other = decode(scores, beam_size=5)[:2]
    assert (best.tokens.tolist(), other.tokens.tolist()) == ([1], [])
    assert best.log_prob == pytest.approx(math.log(0.64), abs=1e-6)
    assert other.log_prob == pytest.approx(math.log(0.36), abs=1e-6)


def path_scores(path, vocab=3, high=0.9):
    scores = np.full((len(path), vocab), (1 - high) / (vocab - 1), np.float32)
    scores[np.arange(len(path)), path] = high
    return np.log(scores)


@pytest.mark.parametrize(
    ("path", "tokens"),
    [
        ([1, 1], [1]),
        ([1, 0, 1], [1, 1]),
        ([1, 1, 0, 0, 1, 1, 0, 1], [1, 1, 1]),
        ([0, 0, 0], []),
        ([1, 2, 1, 1, 2], [1, 2, 1, 2]),
    ],
)
@pytest.mark.parametrize("beam_size", [1, 2, 100])
def test_repeats_need_a_blank(path, tokens, beam_size):
    assert decode(path_scores(path), beam_size=beam_size)[0].tokens.tolist() == tokens


def test_beam_of_one_is_not_greedy():
    """'a' goes on in two ways, which together are more likely than the greatest, 'ab'."""
    scores = np.log(np.array([[0.05, 0.9, 0.05], [0.3, 0.3, 0.4]], np.float32))
    (only,) = decode(scores, beam_size=1)
    assert only.tokens.tolist() == [1]
    assert only.log_prob == pytest.approx(math.log(0.9 * 0.6), abs=1e-6)


def test_vocabulary_of_the_blank_alone():
    (only,) = decode(np.zeros((7, 1), np.float32), beam_size=4)
    assert (only.tokens.tolist(), only.log_prob, only.score) == ([], 0.0, 0.0)


def test_no_frames():
    (only,) = decode(np.zeros((0, 5), np.float32))
    assert (len(only), only.log_prob, only.lm_score, only.bonus, only.score) == (0, 0, 0, 0, 0)
    assert [getattr(only, name).dtype.name for name in ("tokens", "starts", "ends", "scores")] == [
        "int32",
        "int64",
        "int64",
        "float32",
    ]


def test_one_frame():
    scores = log_probs(1, 6, blank=2)
    found = decode(scores, blank=2)
    order = sorted(range(6), key=lambda token: -scores[0, token])
    assert texts(found) == [() if token == 2 else (token,) for token in order]


def test_all_but_one_token_ruled_out():
    scores = np.full((5, 4), -np.inf, np.float32)
    scores[np.arange(5), [3, 3, 0, 3, 1]] = 0.0
    (only,) = decode(scores)
    assert (only.tokens.tolist(), only.log_prob) == ([3, 3, 1], 0.0)


def test_columns_of_minus_infinity_change_nothing():
    scores = log_probs(40, 8, blank=0)
    padded = np.full((40, 30), -np.inf, np.float32)
    padded[:, :8] = scores
    assert_same(decode(padded, beam_size=20), decode(scores, beam_size=20))


def test_blank_ruled_out_in_some_frames():
    scores = log_probs(30, 5, seed=4)
    scores[::3, 0] = -np.inf
    wanted = oracle.beam_search(scores, oracle.Rules(12))
    found = decode(scores, beam_size=12)
    assert texts(found) == list(wanted)
    assert all(close(one.log_prob, wanted[tuple(one.tokens)].total) for one in found)


def test_hypotheses_far_apart_do_not_underflow():
    """88 nats end float32, 745 end float64 in the linear domain."""
    scores = log_probs(6, 4, spread=500.0)
    wanted = oracle.labellings(scores.astype(float))
    found = decode(scores, beam_size=EVERY)
    assert found[0].log_prob - found[-1].log_prob > 1500
    assert sorted(texts(found)) == sorted(wanted)
    assert all(close(one.log_prob, wanted[tuple(one.tokens)]) for one in found)


def test_logits_are_normalised_and_log_probs_are_not():
    logits = np.random.default_rng(0).normal(0, 3, (50, 9)).astype(np.float32)
    found = decode(logits, kind="logits", beam_size=10)
    scores = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    normalised = decode(scores, beam_size=10)
    assert texts(found) == texts(normalised)
    assert found[0].log_prob == pytest.approx(normalised[0].log_prob, abs=1e-4)
    shifted = decode(scores + np.float32(1.0), beam_size=10)
    assert shifted[0].log_prob == pytest.approx(normalised[0].log_prob + 50, abs=1e-4)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_smaller_types_are_the_same_numbers_as_float32(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.float16 if name == "float16" else ml_dtypes.bfloat16
    small = log_probs(40, 20, spread=2.0).astype(dtype)
    wide = small.astype(np.float32)
    for kind in ("logits", "log_probs"):
        assert_same(decode(small, kind=kind), decode(wide, kind=kind))
