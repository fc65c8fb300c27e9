"""Prefix beam search against all paths, the reference, the forward recursion and alignments."""

import itertools
import math

import ml_dtypes
import numpy as np
import pytest

from ctc_cases import ARRAYS, assert_same, close, decode, frames_of, log_probs, sharp, texts
from ctc_implementations import Cpu
from mms_kernels import _ctc
from mms_kernels.reference import beam as oracle
from mms_kernels.reference.align import align_log_probs
from mms_kernels.reference.greedy import log_softmax


def one(ctc, scores, **options):
    (found,) = ctc.beam(scores[None], [len(scores)], **options)
    return found


def check(ctc, scores, *, labels=None, tolerance=None, **rules):
    """Hypotheses, their order, numbers and frames are those of the reference."""
    found = one(ctc, scores, **rules)
    wanted = oracle.beam_search(scores, oracle.Rules(**rules))
    assert texts(found) == list(wanted)
    for each, prefix in zip(found, wanted.values(), strict=True):
        assert close(each.log_prob, prefix.total, tolerance or ctc.beam_tolerance)
        assert (each.score, each.lm_score, each.bonus) == (each.log_prob, 0, 0)
        assert frames_of(each) == list(prefix.path.frames)
    return found


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0, 10.0])
def test_open_beam_finds_every_labelling_with_the_sum_of_its_paths(ctc, spread):
    """At most 3^0 + ... + 3^6 = 1,093 labellings, fewer for CUDA's beams."""
    generator = np.random.default_rng(int(spread * 10))
    for seed in range(10 if ctc.is_cuda else 150):
        frames, vocab = generator.integers(0, 5 if ctc.is_cuda else 7), generator.integers(1, 5)
        blank = int(generator.integers(vocab))
        scores = log_probs(frames, vocab, seed, spread)
        sums = oracle.labellings(scores.astype(float), blank)
        found = one(ctc, scores, beam_size=ctc.max_beam, blank=blank)
        assert sorted(texts(found)) == sorted(sums)
        values = [each.log_prob for each in found]
        assert values == sorted(values, reverse=True)
        for each in found:
            assert close(each.log_prob, sums[tuple(each.tokens)], ctc.beam_tolerance)
        assert np.exp(values).sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 2, 3, 8, 9, 20, 64])
@pytest.mark.parametrize("spread", [0.3, 3.0, 10.0])
def test_matches_reference(ctc, beam_size, spread):
    generator = np.random.default_rng(beam_size)
    for seed in range(4 if ctc.is_cuda else 8):
        frames, vocab = generator.integers(0, 40), generator.integers(1, 14)
        blank = int(generator.integers(vocab))
        rules = {"beam_size": beam_size, "blank": blank}
        if seed % 3 == 1:
            rules["token_min_logp"] = -3.0
        if seed % 5 == 1 and not ctc.is_cuda:
            rules["beam_threshold"] = 4.0
        if seed % 7 == 1 and not ctc.is_cuda:
            rules["blank_skip"] = 0.5
        check(ctc, log_probs(frames, vocab, seed, spread, blank), **rules)


@pytest.mark.parametrize("vocab", [1, 5, 31, 33, 200])
@pytest.mark.parametrize("beam_size", [1, 8, 65])
def test_instruction_sets_give_the_same_bits(vocab, beam_size):
    scores = sharp(150, vocab, seed=vocab)
    for kind in ("logits", "log_probs"):
        found = []
        for isa in _ctc.isas():
            cpu = Cpu(isa)
            found.append(one(cpu, scores, kind=kind, beam_size=beam_size))
            cpu.close()
        for other in found[1:]:
            assert_same(other, found[0])


@pytest.mark.parametrize("vocab", [40, 90, 700])
def test_tokens_that_cannot_win_are_left_out(ctc, vocab):
    """A diffuse vocabulary much larger than 2 * beam + 2."""
    for seed, beam_size in itertools.product(range(2), (1, 6)):
        check(ctc, log_probs(6, vocab, seed, 0.2), beam_size=beam_size)


def test_best_tokens_of_a_large_vocabulary(ctc):
    generator = np.random.default_rng(1)
    scores = generator.normal(0, 2, (2, 3, 5000)).astype(np.float32)
    scores[0] = generator.integers(-6, 0, (3, 5000))  # many ties
    scores -= 10
    found = ctc.beam(scores, [3, 3], beam_size=7, blank=17)
    for row, hypotheses in enumerate(found):
        # The reference would be slow with all tokens; those that cannot matter are left out.
        others = np.delete(np.arange(5000), 17)
        best = {17}
        for frame in scores[row]:
            best |= set(others[np.lexsort((others, -frame[others]))[:40]].tolist())
        kept = np.array(sorted(best))
        rules = oracle.Rules(beam_size=7, blank=int(np.searchsorted(kept, 17)))
        expected = oracle.beam_search(scores[row][:, kept], rules)
        assert texts(hypotheses) == [tuple(kept[list(tokens)].tolist()) for tokens in expected]


@pytest.mark.parametrize(
    ("frames", "vocab", "beam_size", "loss"),
    [(12, 3, 9000, 1e-9), (300, 20, 100, 0.02), (2000, 20, 100, 0.2)],
)
def test_log_prob_is_that_of_the_labelling(frames, vocab, beam_size, loss):
    """Paths through dropped prefixes are lost, so it can only be lower."""
    scores = sharp(frames, vocab)
    for each in decode(scores, beam_size=beam_size, nbest=5):
        whole = oracle.labelling_log_prob(scores, tuple(each.tokens.tolist()))
        assert whole - loss <= each.log_prob <= whole + 1e-9 * frames


def test_best_labelling_is_not_that_of_the_best_path(ctc):
    best, other = one(ctc, np.log(np.array([[0.6, 0.4]] * 2, np.float32)), beam_size=5)[:2]
    assert (best.tokens.tolist(), other.tokens.tolist()) == ([1], [])
    assert best.log_prob == pytest.approx(math.log(0.64), abs=1e-6)
    assert other.log_prob == pytest.approx(math.log(0.36), abs=1e-6)


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
def test_repeats_need_a_blank(ctc, path, tokens, beam_size):
    scores = np.full((len(path), 3), 0.05, np.float32)
    scores[np.arange(len(path)), path] = 0.9
    assert one(ctc, np.log(scores), beam_size=beam_size)[0].tokens.tolist() == tokens


def test_beam_of_one_is_not_greedy(ctc):
    """'a' goes on in two ways, together more likely than the best path 'ab'."""
    scores = np.log(np.array([[0.05, 0.9, 0.05], [0.3, 0.3, 0.4]], np.float32))
    (only,) = one(ctc, scores, beam_size=1)
    assert only.tokens.tolist() == [1]
    assert only.log_prob == pytest.approx(math.log(0.9 * 0.6), abs=1e-6)


def test_edge_shapes(ctc):
    (only,) = one(ctc, np.zeros((7, 1), np.float32), beam_size=4)  # the blank alone
    assert (only.tokens.tolist(), only.log_prob, only.score) == ([], 0.0, 0.0)
    (none,) = one(ctc, np.zeros((0, 5), np.float32), beam_size=4)
    assert (len(none), none.log_prob, none.lm_score, none.bonus, none.score) == (0, 0, 0, 0, 0)
    types = ["int32", "int64", "int64", "float32", "float32"]
    assert [getattr(none, name).dtype.name for name in ARRAYS] == types
    scores = log_probs(1, 6, blank=2)
    order = sorted(range(6), key=lambda token: -scores[0, token])
    expected = [() if token == 2 else (token,) for token in order]
    assert texts(one(ctc, scores, blank=2, beam_size=10)) == expected
    if not ctc.is_cuda:
        assert ctc.beam(np.zeros((0, 5, 3), np.float32), np.zeros(0, int), beam_size=3) == []


def test_minus_infinity_rules_tokens_out(ctc):
    scores = np.full((5, 4), -np.inf, np.float32)
    scores[np.arange(5), [3, 3, 0, 3, 1]] = 0.0
    (only,) = one(ctc, scores, beam_size=9)
    assert (only.tokens.tolist(), only.log_prob) == ([3, 3, 1], 0.0)
    scores = log_probs(40, 8, blank=0)
    padded = np.full((40, 30), -np.inf, np.float32)
    padded[:, :8] = scores
    assert_same(one(ctc, padded, beam_size=20), one(ctc, scores, beam_size=20))
    scores = log_probs(30, 5, seed=4)
    scores[::3, 0] = -np.inf
    check(ctc, scores, beam_size=12)


def test_hypotheses_far_apart_do_not_underflow(ctc):
    """float32 ends at 88 nats, float64 at 745, in the linear domain."""
    scores = log_probs(4, 4, spread=700.0)
    wanted = oracle.labellings(scores.astype(float))
    found = one(ctc, scores, beam_size=ctc.max_beam)
    assert found[0].log_prob - found[-1].log_prob > 1500
    assert sorted(texts(found)) == sorted(wanted)
    for each in found:
        assert close(each.log_prob, wanted[tuple(each.tokens)], ctc.beam_tolerance)


def test_long_utterances_keep_their_precision(ctc):
    check(ctc, log_probs(400, 6, spread=2), beam_size=6, tolerance=1e-6)


def test_returning_prefix_is_not_duplicated(ctc):
    """A prefix leaves the beam while its child stays; then it returns."""
    for seed in range(30):
        found = check(ctc, log_probs(40, 4, seed=seed, spread=1.5), beam_size=3)
        assert len(set(texts(found))) == len(found)


def test_logits_are_normalised_and_log_probs_are_not(ctc):
    logits = np.random.default_rng(0).normal(0, 3, (50, 9)).astype(np.float32)
    found = one(ctc, logits, kind="logits", beam_size=10)
    scores = log_softmax(logits).astype(np.float32)
    normalised = one(ctc, scores, beam_size=10)
    assert texts(found) == texts(normalised)
    assert found[0].log_prob == pytest.approx(normalised[0].log_prob, abs=1e-4)
    shifted = one(ctc, scores + np.float32(1.0), beam_size=10)
    assert shifted[0].log_prob == pytest.approx(normalised[0].log_prob + 50, abs=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_gives_bits_of_float32(ctc, dtype):
    small = log_probs(30, 20, spread=2.0).astype(dtype)
    for kind in ("logits", "log_probs"):
        wide = one(ctc, small.astype(np.float32), kind=kind, beam_size=9)
        assert_same(one(ctc, small, kind=kind, beam_size=9), wide)


# Ties


def test_ties_go_to_the_parent_rank_then_to_the_lower_token(ctc):
    """A kept prefix precedes new ones."""
    scores = np.full((1, 6), -1.0, np.float32)
    for blank in (0, 3, 5):
        others = [(token,) for token in range(6) if token != blank]
        assert texts(one(ctc, scores, blank=blank, beam_size=9)) == [(), *others]
        assert texts(one(ctc, scores, blank=blank, beam_size=3)) == [(), *others[:2]]
    scores = np.array([[-9, -1, -1, -9], [-np.inf, -np.inf, -np.inf, -1]], np.float32)
    assert texts(one(ctc, scores, beam_size=2)) == [(1, 3), (2, 3)]
    zeros = np.array([[-1.0, -0.0, 0.0]], np.float32)
    assert texts(one(ctc, zeros, beam_size=9)) == [(1,), (2,), ()]


@pytest.mark.parametrize("beam_size", [1, 2, 5, 17])
def test_ties_of_integers_match_reference(ctc, beam_size):
    generator = np.random.default_rng(beam_size)
    for _ in range(5 if ctc.is_cuda else 40):
        frames, vocab = generator.integers(1, 12), generator.integers(2, 9)
        scores = -generator.integers(0, 4, (frames, vocab)).astype(np.float32)
        found = one(ctc, scores, beam_size=beam_size)
        stream = ctc.stream(beam_size=beam_size)
        for row in scores:
            stream.step(row[None])
        assert_same(stream.finish(nbest=100), found)
        rows = ctc.beam(np.stack([scores * 0, scores]), [frames] * 2, beam_size=beam_size)
        assert_same(rows[1], found)


# Frames of tokens


@pytest.mark.parametrize("spread", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("blank", [0, 2])
def test_frames_are_those_of_the_best_alignment(ctc, spread, blank):
    for seed in range(2 if ctc.is_cuda else 8):
        scores = log_probs(6, 3, seed, spread)
        for each in one(ctc, scores, beam_size=ctc.max_beam, blank=blank):
            best = align_log_probs(scores.astype(float), each.tokens, blank=blank)
            path = np.full(len(scores), blank)
            for token, (start, end) in zip(each.tokens, frames_of(each), strict=True):
                path[start:end] = token
            total = scores[np.arange(len(scores)), path].astype(float).sum()
            assert total == pytest.approx(best.score, abs=1e-9)


def test_frames_and_scores_of_long_audio(ctc):
    scores = sharp(400, 20, seed=4)
    found = one(ctc, scores, beam_size=50)
    best = align_log_probs(scores.astype(float), found[0].tokens)
    assert frames_of(found[0]) == list(zip(best.starts, best.ends, strict=True))
    for each in found:
        ends = [0, *each.ends.tolist()]
        assert all(end <= start for end, start in zip(ends, each.starts.tolist(), strict=False))
        assert (each.starts < each.ends).all()
        assert ends[-1] <= 400
        for i, (start, end) in enumerate(frames_of(each)):
            column = scores[start:end, each.tokens[i]]
            assert each.scores[i] == pytest.approx(column.mean(), abs=1e-5)
            assert each.peaks[i] == column.max()


def test_equal_paths_are_decided_as_in_the_reference(ctc):
    """Ties go to the path that continues, then to the one that ends in a blank."""
    generator = np.random.default_rng(0)
    for _ in range(10 if ctc.is_cuda else 60):
        scores = -generator.integers(0, 3, (4, 4)).astype(np.float32)
        wanted = oracle.beam_search(scores, oracle.Rules(1100))
        for each in one(ctc, scores, beam_size=ctc.max_beam):
            assert frames_of(each) == list(wanted[tuple(each.tokens.tolist())].path.frames)


# Token cut


def test_token_cut_spares_blanks_and_repeated_labels(ctc):
    rows = [[0.05, 0.9, 0.05], [0.04, 0.04, 0.92], [0.04, 0.92, 0.04]]
    found = check(ctc, np.log(np.array(rows, np.float32)), beam_size=50, token_min_logp=-2.0)
    # Only 1, 2, 1 may be new in turn; each prefix also stays by the unlikely blank and label.
    assert texts(found)[0] == (1, 2, 1)
    assert sorted(texts(found)) == [(), (1,), (1, 1), (1, 2), (1, 2, 1), (2,), (2, 1)]


@pytest.mark.parametrize("models", [False, True])
def test_token_cut_spares_the_most_likely_token_of_a_frame(ctc, models):
    """400 equally unlikely tokens but one: below the cut like all others, and still decoded."""
    scores = np.full((3, 400), 0.0, np.float32)
    scores[:, 0] = -9.0
    scores[1, 0], scores[1, 7] = -9.0, 0.5
    scores[[0, 2], 0] = 9.0
    scores = log_softmax(scores).astype(np.float32)
    assert scores[1].max() < -5
    options = {"word_score": 0.25, "unit": "token"} if models else {}
    found = one(ctc, scores, beam_size=5, token_min_logp=-5.0, **options)
    assert texts(found)[0] == (7,)
    if not models:
        check(ctc, scores, beam_size=5, token_min_logp=-5.0)


def test_token_cut_loses_little_on_peaky_posteriors(ctc):
    scores = sharp(300, 32, seed=1)
    exact = one(ctc, scores, beam_size=50)[0]
    cut = one(ctc, scores, beam_size=50, token_min_logp=-5.0)[0]
    assert cut.tokens.tolist() == exact.tokens.tolist()
    assert exact.log_prob - 0.3 < cut.log_prob <= exact.log_prob
