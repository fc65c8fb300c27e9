"""The prefix beam on the emulated device, without models."""

import math

import numpy as np
import pytest

from beam_cases import assert_same, frames_of, texts
from cuda_beam import Beam
from cuda_emulation import Device, to_bfloat16
from mms_kernels.cuda.arguments import Code, beam_least_arena
from mms_kernels.reference import log_softmax
from mms_kernels.reference_beam import Rules, beam_search, labellings


def random_log_probs(frames, vocab, *, seed=0, spread=2.0):
    logits = np.random.default_rng(seed).normal(0, spread, (frames, vocab))
    return log_softmax(logits).astype(np.float32)


def check(found, log_probs, *, rel=1e-6, **rules):
    """The hypotheses are those of the reference, in its order, with its numbers and times."""
    expected = beam_search(log_probs, Rules(**rules))
    assert texts(found) == list(expected)
    for one, prefix in zip(found, expected.values(), strict=True):
        assert one.log_prob == pytest.approx(prefix.total, rel=rel, abs=1e-5)
        assert (one.lm_score, one.bonus) == (0, 0)
        assert one.score == one.log_prob
        assert frames_of(one) == list(prefix.path.frames)
        for i, (start, end) in enumerate(prefix.path.frames):
            said = log_probs[start:end, one.tokens[i]]
            assert one.scores[i] == pytest.approx(said.mean(), abs=1e-5)
            assert one.peaks[i] == pytest.approx(said.max(), abs=1e-5)


def assert_rows_same(left, right):
    """Equal to the last bit."""
    for one, other in zip(left, right, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("spread", [0.1, 1, 3, 10])
def test_all_labellings_have_the_sums_of_their_paths(device, spread):
    cases = [random_log_probs(5, 3, seed=seed, spread=spread) for seed in range(20)]
    for blank in (0, 1, 2):
        beam = Beam(device, 20, 3, beam_size=128, blank=blank)
        assert beam.step(np.stack(cases)) == [Code.OK] * 20
        for log_probs, found in zip(cases, beam.results(), strict=True):
            expected = labellings(log_probs, blank)
            assert set(texts(found)) == set(expected)
            for tokens, one in zip(texts(found), found, strict=True):
                assert one.log_prob == pytest.approx(expected[tokens], rel=1e-5, abs=1e-6)
            assert sum(math.exp(one.log_prob) for one in found) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 2, 5, 33])
@pytest.mark.parametrize("vocab", [1, 2, 12, 90])
def test_equals_the_reference(emulated, beam_size, vocab):
    """With a vocabulary of 90, not all tokens are looked at in a frame."""
    rows = 3
    cases = [random_log_probs(25, vocab, seed=seed, spread=1 + seed) for seed in range(rows)]
    blank = vocab // 2
    beam = Beam(Device(emulated, seed=vocab), rows, vocab, beam_size=beam_size, blank=blank)
    lengths = [25, 0, 24]
    assert beam.step(np.stack(cases), lengths) == [Code.OK] * rows
    for log_probs, length, found in zip(cases, lengths, beam.results(), strict=True):
        check(found, log_probs[:length], beam_size=beam_size, blank=blank)


def test_ties_are_decided_by_rank_and_token(device):
    rng = np.random.default_rng(3)
    cases = np.log(rng.choice([0.25, 0.5], (10, 8, 4))).astype(np.float32)
    beam = Beam(device, 10, 4, beam_size=6)
    beam.step(cases)
    for log_probs, found in zip(cases, beam.results(), strict=True):
        check(found, log_probs, beam_size=6)


@pytest.mark.parametrize("seed", range(4))
def test_every_cut_batch_and_order_of_threads_gives_the_same_bits(emulated, seed):
    cases = np.stack([random_log_probs(21, 9, seed=row) for row in range(4)])
    plain = Device(emulated, threads=32)
    whole = Beam(plain, 4, 9, beam_size=5)
    whole.step(cases)
    cut = Beam(Device(emulated, seed=seed, threads=96), 4, 9, beam_size=5, threads=32 * (seed + 1))
    for start in range(0, 21, 2 + seed):
        cut.step(np.ascontiguousarray(cases[:, start : start + 2 + seed]))
    assert_rows_same(cut.results(), whole.results())
    for row in range(4):
        alone = Beam(plain, 1, 9, beam_size=5)
        alone.step(cases[row : row + 1])
        assert_same(alone.results()[0], whole.results()[row])


def test_long_streams_keep_their_precision(device):
    log_probs = random_log_probs(400, 6, spread=2)
    beam = Beam(device, 1, 6, beam_size=6)
    beam.step(log_probs[None])
    check(beam.results()[0], log_probs, beam_size=6, rel=1e-7)


def test_prefixes_that_come_back_are_not_there_twice(device):
    """A prefix falls out of the beam, and its child does not; then it comes back."""
    found_twice = 0
    for seed in range(30):
        log_probs = random_log_probs(40, 4, seed=seed, spread=1.5)
        beam = Beam(device, 1, 4, beam_size=3)
        for frame in range(40):
            beam.step(log_probs[None, frame : frame + 1])
        found = beam.results()[0]
        found_twice += len(set(texts(found))) < len(found)
        check(found, log_probs, beam_size=3)
    assert found_twice == 0


def test_unlikely_tokens_are_left_out_where_asked(device):
    log_probs = random_log_probs(30, 10, spread=3)
    beam = Beam(device, 1, 10, beam_size=6, token_min_logp=-3.0)
    beam.step(log_probs[None])
    check(beam.results()[0], log_probs, beam_size=6, token_min_logp=-3.0)


def test_logits_of_any_type_are_normalised(device):
    logits = np.random.default_rng(0).normal(0, 3, (1, 20, 11)).astype(np.float32)
    halves = logits.astype(np.float16)
    brains = to_bfloat16(logits)
    wide = (brains.astype(np.uint32) << 16).view(np.float32)
    for data, values in ((logits, logits), (halves, halves.astype(np.float32)), (brains, wide)):
        beam = Beam(device, 1, 11, beam_size=4)
        beam.step(data, kind="logits")
        check(beam.results()[0], log_softmax(values[0]), beam_size=4, rel=1e-5)


def test_columns_of_minus_infinity(device):
    log_probs = random_log_probs(12, 6)
    log_probs[:, [2, 4]] = -np.inf
    log_probs[5] = -np.inf
    log_probs[5, 3] = 0
    beam = Beam(device, 1, 6, beam_size=10)
    beam.step(log_probs[None])
    check(beam.results()[0], log_probs, beam_size=10)


def test_bad_chunks_are_reported_and_leave_the_stream(device):
    cases = np.stack([random_log_probs(6, 5, seed=row) for row in range(4)])
    beam = Beam(device, 4, 5, beam_size=4)
    beam.step(cases)
    before = beam.results()
    bad = cases.copy()
    bad[0, 5, 4] = np.nan
    bad[1, 2, 0] = np.inf
    bad[2, 3] = -np.inf
    codes = beam.step(bad, [6, 6, 6, 7])
    assert codes == [Code.NAN, Code.INFINITE, Code.EMPTY, Code.LENGTH]
    assert beam.status["frame"].tolist() == [5, 2, 3, 0]
    assert_rows_same(beam.results(), before)
    least = beam_least_arena(4)
    assert Beam(device, 4, 5, beam_size=4, arena=least).step(cases) == [Code.OK] * 4
    assert Beam(device, 4, 5, beam_size=4, arena=least - 1).step(cases) == [Code.CAPACITY] * 4
    beam.rest(capacity=1)
    assert beam.status["code"].tolist() == [Code.CAPACITY] * 4


def test_large_vocabularies_choose_the_best_tokens(device):
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 2, (2, 3, 5000)).astype(np.float32)
    scores[0] = rng.integers(-6, 0, (3, 5000))  # a great many ties
    scores -= 10
    beam = Beam(device, 2, 5000, beam_size=7, blank=17)
    beam.step(scores)
    for row, found in enumerate(beam.results()):
        # The reference would take long over all tokens: those that cannot matter are left out.
        others = np.delete(np.arange(5000), 17)
        best = {17}
        for frame in scores[row]:
            order = np.lexsort((others, -frame[others]))
            best |= set(others[order[:40]].tolist())
        kept = np.array(sorted(best))
        blank = int(np.searchsorted(kept, 17))
        expected = beam_search(scores[row][:, kept], Rules(beam_size=7, blank=blank))
        named = [tuple(int(kept[token]) for token in tokens) for tokens in expected]
        assert texts(found) == named
