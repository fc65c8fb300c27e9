"""Forced alignment: the right path with the right score."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from ctc_cases import (
    assert_close,
    assert_same,
    random_logits,
    random_target,
    repeats,
    spoken,
    whole_scores,
)
from mms_kernels import STAR, TokenSpan, forced_align, greedy_decode
from mms_kernels.reference.align import align_log_probs
from mms_kernels.reference.greedy import log_softmax


def one(ctc, scores, target, **options):
    (found,) = ctc.align(scores[None], [target], **options)
    return found


def same_path(found, expected):
    """Equal bits; the score of a path of integers is exact."""
    assert found.score == expected.score
    for name in ("tokens", "starts", "ends", "scores"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


@pytest.mark.parametrize("spare", [0, 1, 2, 30])
def test_ties_match_reference(ctc, spare):
    """T - L - R in {0, 1, 2} are the shapes at which other aligners write out of bounds."""
    generator = np.random.default_rng(spare)
    for _ in range(40 if ctc.is_cuda else 300):
        vocab = int(generator.integers(2, 7))
        blank = int(generator.integers(vocab))
        target = random_target(int(generator.integers(0, 12)), vocab, generator, blank)
        frames = max(1, len(target) + repeats(target) + spare)
        scores = whole_scores(frames, vocab, generator)
        expected = align_log_probs(scores.astype(float), target, blank=blank)
        same_path(one(ctc, scores, target, blank=blank, kind="log_probs"), expected)


@pytest.mark.parametrize("size", [31, 32, 33, 63, 64, 65, 127, 128, 300])
def test_sizes_around_tiles_and_words_match_reference(ctc, size):
    generator = np.random.default_rng(size)
    target = random_target(size, 5, generator)
    for spare in (0, 1, 31, 32, 33, 200):
        scores = whole_scores(size + repeats(target) + spare, 5, generator)
        expected = align_log_probs(scores.astype(float), target)
        same_path(one(ctc, scores, target, kind="log_probs"), expected)


def test_score_is_that_of_the_best_path_by_enumeration(ctc):
    generator = np.random.default_rng(0)
    for _ in range(10 if ctc.is_cuda else 100):
        frames = int(generator.integers(1, 7))
        scores = whole_scores(frames, 3, generator)
        best = {}
        for path in itertools.product(range(3), repeat=frames):
            labels = tuple(token for token, _ in itertools.groupby(path) if token != 0)
            total = float(scores[np.arange(frames), path].sum())
            best[labels] = max(best.get(labels, -np.inf), total)
        for labels, total in best.items():
            assert one(ctc, scores, np.array(labels, int), kind="log_probs").score == total


@pytest.mark.parametrize("vocab", [2, 5, 32, 200])
@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
def test_logits_of_any_spread(ctc, vocab, spread):
    generator = np.random.default_rng(vocab)
    for size in (1, 20, 70):
        target = random_target(size, vocab, generator)
        logits = generator.normal(0, spread, (3 * size, vocab)).astype(np.float32)
        log_probs = log_softmax(logits)
        found = one(ctc, logits, target)
        expected = align_log_probs(log_probs, target)
        assert found.score == pytest.approx(expected.score, rel=1e-5, abs=1e-5)
        path = np.zeros(len(logits), int)
        for span in found.spans:
            path[span.start : span.end] = span.token
            mean = log_probs[span.start : span.end, span.token].mean()
            assert span.score == pytest.approx(mean, rel=1e-5, abs=1e-5 * max(1, spread))
        total = log_probs[np.arange(len(path)), path].sum()
        assert total == pytest.approx(expected.score, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_gives_bits_of_float32(ctc, dtype):
    small = random_logits(60, 30, blank=0).astype(dtype)
    for kind in ("logits", "log_probs"):
        found = one(ctc, small, [3, 3, 29, 1, 5], kind=kind)
        same_path(found, one(ctc, small.astype(np.float32), [3, 3, 29, 1, 5], kind=kind))


def test_alignment_of_the_greedy_labelling_is_the_greedy_path(ctc):
    generator = np.random.default_rng(3)
    for _ in range(3):
        logits = generator.normal(0, 4, (400, 20)).astype(np.float32)
        logits[:, 0] += 6
        (greedy,) = greedy_decode(logits[None], np.array([400]))
        assert_close(greedy, one(ctc, logits, greedy.tokens.astype(np.int64)), 1e-5)


def test_tokens_begin_as_early_as_possible_among_equal_paths(ctc):
    found = one(ctc, np.zeros((6, 3), np.float32), [1, 2, 2])
    assert (found.starts.tolist(), found.ends.tolist()) == ([0, 1, 3], [1, 2, 4])


def test_repeats_need_a_blank(ctc):
    found = one(ctc, np.zeros((5, 2), np.float32), [1, 1, 1])
    assert found.starts.tolist() == [0, 2, 4]
    assert found.score == pytest.approx(5 * np.log(0.5))


def test_spans(ctc):
    logits = np.log(np.array([[0.1, 0.9], [0.4, 0.6], [0.9, 0.1]], np.float32))
    found = one(ctc, logits, [1])
    assert found.spans == (TokenSpan(1, 0, 2, float(found.scores[0])),)
    assert found.scores[0] == pytest.approx((np.log(0.9) + np.log(0.6)) / 2, abs=1e-6)
    assert found.score == pytest.approx(np.log(0.9 * 0.6 * 0.9), abs=1e-6)
    assert len(found) == 1


def test_empty_targets_and_no_frames(ctc):
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    blanks = one(ctc, logits, [])
    assert blanks.spans == ()
    assert blanks.score == pytest.approx(log_softmax(logits)[:, 0].sum())
    nothing = one(ctc, np.zeros((0, 4), np.float32), [])
    assert (nothing.spans, nothing.score) == ((), 0.0)
    single = one(ctc, np.array([[0.0, 1.0]], np.float32), [1])
    assert [(span.start, span.end) for span in single.spans] == [(0, 1)]
    assert single.spans[0].score == pytest.approx(single.score)


def test_minus_infinity_rules_a_token_out(ctc):
    logits = np.zeros((6, 3), np.float32)
    logits[:3, 1] = -np.inf
    assert one(ctc, logits, [1, 2]).starts.tolist() == [3, 4]


def test_log_probs_are_used_unchanged(ctc):
    scores = np.full((4, 2), -3.0, np.float32)
    assert one(ctc, scores, [1], kind="log_probs").score == -12.0
    assert one(ctc, scores, [1]).score == pytest.approx(4 * np.log(0.5))


def test_emissions_are_rounded_to_a_grid(cpu):
    """Multiples of 2^-26, so that float64 sums are exact."""
    for given, each in ((-(2.0**-28), 0.0), (-1.5 * 2.0**-26, -(2.0**-25)), (-0.15, -0.15)):
        scores = np.full((2000, 2), given, np.float32)
        rounded = float(np.float32(each))
        assert one(cpu, scores, [1], kind="log_probs").score == 2000 * rounded


def test_sums_of_a_million_frames_are_exact(cpu):
    """-5e7 leaves no room for 2^-18 in float32; in float64 it does."""
    frames = 1_000_000
    scores = np.full((frames, 2), -50.0, np.float32)
    scores[frames // 3, 1] += 2**-18
    found = one(cpu, scores, [1], kind="log_probs")
    assert found.score == -50.0 * frames + 2**-18
    assert found.starts.tolist() == [0]
    assert found.ends[0] > frames // 3


@pytest.mark.parametrize("star", [STAR, -7, 5])
def test_star_is_an_additional_column(ctc, star):
    generator = np.random.default_rng(1)
    for score in (0.0, -1.0, -2.5):
        for _ in range(10 if ctc.is_cuda else 50):
            target = random_target(int(generator.integers(1, 9)), 5, generator)
            target[generator.random(len(target)) < 0.4] = 5
            frames = len(target) + repeats(target) + int(generator.integers(0, 20))
            scores = whole_scores(frames, 5, generator)
            column = np.full((frames, 1), score)
            expected = align_log_probs(np.hstack([scores, column]), target)
            tokens = np.where(target == 5, star, target)
            found = one(ctc, scores, tokens, star=star, star_score=score, kind="log_probs")
            expected.tokens[:] = tokens
            same_path(found, expected)


def test_star_covers_untranscribed_speech(ctc):
    generator = np.random.default_rng(2)
    said = np.array([1, 2, 3, 4, 5, 6, 7, 8])
    logits = spoken(said, 80, 10, generator)
    found = one(ctc, logits, [STAR, 4, 5, 6, STAR], star=STAR)
    np.testing.assert_array_equal(found.starts[1:4], one(ctc, logits, said).starts[3:6])


def test_batch_equals_its_rows(ctc):
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 3, (12, 80, 6)).astype(np.float32)
    targets = [generator.integers(1, 6, size) for size in generator.integers(0, 21, 12)]
    lengths = generator.integers(40, 81, 12)
    logits[np.arange(80) >= lengths[:, None]] = np.nan  # not read
    results = ctc.align(logits, targets, lengths)
    for row, found in enumerate(results):
        same_path(found, one(ctc, logits[row, : lengths[row]].copy(), targets[row]))
    if ctc.is_cuda:
        return
    for threads in (2, 16):
        assert_same(ctc.align(logits, targets, lengths, threads=threads), results)
    assert forced_align(np.zeros((0, 5, 3), np.float32), np.zeros((0, 2), np.int64)) == []


def test_targets_of_any_integer_dtype_and_order():
    logits = np.zeros((2, 6, 4), np.float32)
    targets = np.array([[1, 2, 2]] * 2)
    expected = forced_align(logits, targets)
    for dtype in (np.int32, np.uint8, np.int64):
        found = forced_align(logits, np.asfortranarray(targets.astype(dtype)))
        assert found[1].starts.tolist() == expected[1].starts.tolist()
