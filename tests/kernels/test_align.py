"""Forced alignment: the right path, for the right score."""

import itertools

import numpy as np
import pytest

from align_cases import align, assert_same, random_target, repeats, spoken, whole_scores
from mms_kernels import STAR, TokenSpan, _ctc, forced_align, greedy_decode
from mms_kernels.reference import log_softmax
from mms_kernels.reference_align import align_log_probs


@pytest.fixture(params=_ctc.isas(), autouse=True)
def isa(request):
    before = _ctc.isa()
    _ctc.use_isa(request.param)
    yield request.param
    _ctc.use_isa(before)


# Against the oracle


@pytest.mark.parametrize("spare", [0, 1, 2, 30])
def test_whole_scores_with_ties(spare):
    """T - L - R in {0, 1, 2} are the shapes at which other aligners write out of bounds."""
    generator = np.random.default_rng(spare)
    for _ in range(300):
        vocab = int(generator.integers(2, 7))
        blank = int(generator.integers(vocab))
        target = random_target(int(generator.integers(0, 12)), vocab, generator, blank)
        frames = max(1, len(target) + repeats(target) + spare)
        scores = whole_scores(frames, vocab, generator)
        found = align(scores, target, blank=blank, kind="log_probs")
        assert_same(found, align_log_probs(scores.astype(float), target, blank=blank))


@pytest.mark.parametrize("size", [31, 32, 33, 63, 64, 65, 127, 128, 300])
def test_sizes_about_those_of_the_tiles(size):
    generator = np.random.default_rng(size)
    target = random_target(size, 5, generator)
    for spare in (0, 1, 31, 32, 33, 200):
        scores = whole_scores(size + repeats(target) + spare, 5, generator)
        found = align(scores, target, kind="log_probs")
        assert_same(found, align_log_probs(scores.astype(float), target))


def test_score_is_that_of_the_best_of_all_paths():
    """By enumeration, without any dynamic programming."""
    generator = np.random.default_rng(0)
    for _ in range(100):
        frames = int(generator.integers(1, 7))
        scores = whole_scores(frames, 3, generator)
        best = {}
        for path in itertools.product(range(3), repeat=frames):
            labels = tuple(token for token, _ in itertools.groupby(path) if token != 0)
            total = float(scores[np.arange(frames), path].sum())
            best[labels] = max(best.get(labels, -np.inf), total)
        for labels, total in best.items():
            assert align(scores, labels, kind="log_probs").score == total


@pytest.mark.parametrize("vocab", [2, 5, 32, 200])
@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
def test_logits_of_any_spread(vocab, spread):
    generator = np.random.default_rng(vocab)
    for size in (1, 20, 70):
        target = random_target(size, vocab, generator)
        logits = generator.normal(0, spread, (3 * size, vocab)).astype(np.float32)
        log_probs = log_softmax(logits)
        found = align(logits, target)
        expected = align_log_probs(log_probs, target)
        assert found.score == pytest.approx(expected.score, rel=1e-6)
        path = np.zeros(len(logits), int)
        for span in found.spans:
            path[span.start : span.end] = span.token
            mean = log_probs[span.start : span.end, span.token].mean()
            assert span.score == pytest.approx(mean, rel=1e-5, abs=1e-6 * max(1, spread))
        total = log_probs[np.arange(len(path)), path].sum()
        assert total == pytest.approx(expected.score, rel=1e-6)


def test_spans_of_the_best_path_hold_those_of_the_greedy_one():
    """The tokens that greedy decoding finds are aligned to where it found them."""
    generator = np.random.default_rng(3)
    for _ in range(20):
        logits = generator.normal(0, 4, (400, 20)).astype(np.float32)
        logits[:, 0] += 6
        (greedy,) = greedy_decode(logits[None], np.array([400]))
        found = align(logits, greedy.tokens)
        np.testing.assert_array_equal(found.starts, greedy.starts)
        np.testing.assert_array_equal(found.ends, greedy.ends)
        np.testing.assert_allclose(found.scores, greedy.scores, atol=1e-5)


# Rules


def test_of_equal_paths_each_token_begins_as_early_as_it_can():
    alignment = align(np.zeros((6, 3), np.float32), [1, 2, 2])
    assert alignment.starts.tolist() == [0, 1, 3]
    assert alignment.ends.tolist() == [1, 2, 4]


def test_repeats_need_a_blank():
    alignment = align(np.zeros((5, 2), np.float32), [1, 1, 1])
    assert alignment.starts.tolist() == [0, 2, 4]
    assert alignment.score == pytest.approx(5 * np.log(0.5))


def test_spans():
    logits = np.log(np.array([[0.1, 0.9], [0.4, 0.6], [0.9, 0.1]], np.float32))
    alignment = align(logits, [1])
    assert alignment.spans == (TokenSpan(1, 0, 2, float(alignment.scores[0])),)
    assert alignment.scores[0] == pytest.approx((np.log(0.9) + np.log(0.6)) / 2, abs=1e-6)
    assert alignment.score == pytest.approx(np.log(0.9 * 0.6 * 0.9), abs=1e-6)
    assert len(alignment) == 1


def test_one_frame():
    logits = np.array([[0.0, 1.0]], np.float32)
    alignment = align(logits, [1])
    assert alignment.spans == (TokenSpan(1, 0, 1, alignment.score),)


def test_no_tokens_are_all_blanks():
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    alignment = align(logits, [])
    assert alignment.spans == ()
    assert alignment.score == pytest.approx(log_softmax(logits)[:, 0].sum())


def test_no_tokens_in_no_frames():
    alignment = align(np.zeros((0, 4), np.float32), [])
    assert (alignment.spans, alignment.score) == ((), 0.0)


def test_minus_infinity_forbids():
    logits = np.zeros((6, 3), np.float32)
    logits[:3, 1] = -np.inf
    assert align(logits, [1, 2]).starts.tolist() == [3, 4]


def test_log_probs_are_taken_as_they_are():
    scores = np.full((4, 2), -3.0, np.float32)
    assert align(scores, [1], kind="log_probs").score == -12.0
    assert align(scores, [1]).score == pytest.approx(4 * np.log(0.5))


def test_scores_far_apart_lose_nothing():
    """A million frames of -50 leave no room for 2^-20 in float32, in float64 they do."""
    frames = 1_000_000
    scores = np.full((frames, 2), -50.0, np.float32)
    scores[frames // 3, 1] += 2**-18
    alignment = align(scores, [1], kind="log_probs")
    assert alignment.score == -50.0 * frames + 2**-18
    assert alignment.starts.tolist() == [0]
    assert alignment.ends[0] > frames // 3


# The star


@pytest.mark.parametrize("star", [STAR, -7, 5])
def test_star_is_one_more_column(star):
    generator = np.random.default_rng(1)
    for score in (0.0, -1.0, -2.5):
        for _ in range(50):
            target = random_target(int(generator.integers(1, 9)), 5, generator)
            target[generator.random(len(target)) < 0.4] = 5
            frames = len(target) + repeats(target) + int(generator.integers(0, 20))
            scores = whole_scores(frames, 5, generator)
            column = np.full((frames, 1), score)
            expected = align_log_probs(np.hstack([scores, column]), target)
            tokens = np.where(target == 5, star, target)
            found = align(scores, tokens, star=star, star_score=score, kind="log_probs")
            assert found.tokens.tolist() == tokens.tolist()
            expected.tokens[:] = tokens
            assert_same(found, expected)


def test_star_takes_what_the_text_lacks():
    generator = np.random.default_rng(2)
    said = np.array([1, 2, 3, 4, 5, 6, 7, 8])
    logits = spoken(said, 80, 10, generator)
    whole = align(logits, said)
    found = align(logits, [STAR, 4, 5, 6, STAR], star=STAR)
    np.testing.assert_array_equal(found.starts[1:4], whole.starts[3:6])


# Batches


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_batch_is_its_rows(threads):
    generator = np.random.default_rng(5)
    rows, frames, width, vocab = 12, 80, 20, 6
    logits = generator.normal(0, 3, (rows, frames, vocab)).astype(np.float32)
    targets = generator.integers(1, vocab, (rows, width))
    sizes = generator.integers(0, width + 1, rows)
    lengths = generator.integers(40, frames + 1, rows)
    results = forced_align(logits, targets, lengths, sizes, threads=threads)
    for i in range(rows):
        alone = align(logits[i, : lengths[i]].copy(), targets[i, : sizes[i]])
        assert_same(results[i], alone)
    # What is beyond the lengths is not read.
    logits[np.arange(frames) >= lengths[:, None]] = np.nan
    targets[np.arange(width) >= sizes[:, None]] = 0
    for padded, result in zip(
        forced_align(logits, targets, lengths, sizes, threads=threads), results, strict=True
    ):
        assert_same(padded, result)


def test_empty_batch():
    assert forced_align(np.zeros((0, 5, 3), np.float32), np.zeros((0, 2), np.int64)) == []
