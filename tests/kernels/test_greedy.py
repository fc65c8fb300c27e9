"""Greedy decoding: every implementation against the reference, bit for bit where promised."""

import itertools
import threading

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ctc_cases import ARRAYS, assert_close, assert_same, random_logits
from mms_kernels import GreedyDecoder, GreedyResult, _ctc, greedy_decode
from mms_kernels.reference import greedy as reference

SMALL = (np.float16, ml_dtypes.bfloat16)
VOCABULARIES = [1, 2, 3, 15, 16, 17, 31, 32, 33, 154, 255, 256, 257, 271, 273, 530, 1000, 3001]


def decode(logits, *, blank=0, kind="logits"):
    (result,) = greedy_decode(logits[None], np.array([len(logits)]), blank=blank, kind=kind)
    return result


@pytest.mark.parametrize("vocab", VOCABULARIES)
def test_matches_reference(ctc, vocab):
    for blank, spread in itertools.product({0, vocab // 2, vocab - 1}, (0.1, 3.0, 100.0)):
        logits = random_logits(45, vocab, seed=vocab, spread=spread, blank=blank)
        logits[:, vocab // 2] = -np.inf if vocab > 1 else 0
        (result,) = ctc.greedy(logits[None], [45], blank=blank)
        expected = reference.greedy_decode(logits, blank=blank)
        assert_close(result, expected, ctc.greedy_tolerance)
        assert (result.scores <= 0).all()
        assert (result.peaks <= 0).all()
        if not ctc.is_cuda:  # equal bits on every instruction set
            _ctc.use_isa("scalar")
            assert_same(decode(logits, blank=blank), result)
            _ctc.use_isa(ctc.isa)


@settings(deadline=None, max_examples=300)
@given(
    logits=arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 12), st.integers(1, 40)),
        elements=st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0, -np.inf]),
    ),
    data=st.data(),
)
def test_ties_and_repeats_match_reference(logits, data):
    logits[np.isneginf(logits).all(axis=1), 0] = 0.0
    blank = data.draw(st.integers(0, logits.shape[1] - 1))
    assert_close(decode(logits, blank=blank), reference.greedy_decode(logits, blank=blank))


@pytest.mark.parametrize("vocab", [5, 40, 700])
def test_lowest_of_equal_tokens_wins_at_any_position(ctc, vocab):
    logits = np.zeros((1, vocab, vocab), np.float32)
    for low in range(vocab):
        logits[0, low, [low, vocab - 1, (low + vocab) // 2]] = 1.0
    (result,) = ctc.greedy(logits, [vocab])
    assert result.tokens.tolist() == list(range(1, vocab))
    (zeros,) = ctc.greedy(np.array([[[-1.0, -0.0, 0.0]]], np.float32), [1])
    assert zeros.tokens.tolist() == [1]


def test_repeats_collapse_and_blank_separates_them(ctc):
    path = [0, 1, 1, 0, 1, 2, 2, 2, 0, 0, 2]
    logits = np.full((1, len(path), 3), -10.0, np.float32)
    logits[0, np.arange(len(path)), path] = 10.0
    (result,) = ctc.greedy(logits, [len(path)])
    assert result.tokens.tolist() == [1, 1, 2, 2]
    assert result.starts.tolist() == [1, 4, 5, 10]
    assert result.ends.tolist() == [3, 5, 8, 11]
    assert len(result) == 4


def test_log_probs_are_used_unchanged(ctc):
    scores = np.array([[[-3.0, -0.5, -2.0], [-9.0, -0.25, -1.0], [0.0, -5, -5]]], np.float32)
    (result,) = ctc.greedy(scores, [3], kind="log_probs")
    assert result.tokens.tolist() == [1]
    assert (result.scores.tolist(), result.peaks.tolist()) == ([-0.375], [-0.25])
    zeros = np.full((2, 1, 20), -4.0, np.float32)
    zeros[:, 0, 2], zeros[:, 0, 18] = (0.0, -0.0), (-0.0, 0.0)
    for one in ctc.greedy(zeros, [1, 1], kind="log_probs"):
        assert one.scores.tobytes() == np.float32(0.0).tobytes()


@pytest.mark.parametrize("offset", [-1e4, 1e4, 1e30])
def test_constant_offset_of_a_frame_changes_nothing(ctc, offset):
    logits = np.array([[1.0, 0.0, -1.0, 0.5]], np.float32) * np.float32(1e3 if offset < 1e5 else 1)
    moved = logits + np.float32(offset)
    (result,) = ctc.greedy(moved[None], [1], blank=3)
    assert_close(result, reference.greedy_decode(moved, blank=3), 1e-5)


def test_columns_of_minus_infinity_change_nothing(ctc):
    """Exported heads are padded with them to a common vocabulary size."""
    logits = random_logits(100, 40, blank=0)
    padded = np.full((1, 100, 200), -np.inf, np.float32)
    padded[0, :, :40] = logits
    assert_close(ctc.greedy(padded, [100])[0], ctc.greedy(logits[None], [100])[0], 1e-6)
    far = np.full((1, 1, 50), -1e30, np.float32)
    far[0, 0, 7] = 0.0
    assert ctc.greedy(far, [1])[0].scores.tolist() == [0.0]


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("vocab", [1, 2, 16, 33, 257, 530])
def test_half_precision_gives_bits_of_float32(ctc, dtype, vocab):
    small = random_logits(60, vocab, seed=vocab, blank=0)
    small[:, vocab // 3] *= 1e-6  # subnormal as float16
    small = small.astype(dtype)
    small[:, vocab // 2] = -np.inf if vocab > 1 else 0
    left = ctc.greedy(small[None], [60])
    assert_same(left, ctc.greedy(small[None].astype(np.float32), [60]))


@pytest.mark.parametrize("dtype", SMALL)
def test_every_half_precision_number_is_read_exactly(ctc, dtype):
    """One frame a number, next to the number below it, which must lose."""
    numbers = np.arange(2**16, dtype=np.uint16).view(dtype)
    numbers = np.sort(np.unique(numbers[np.isfinite(numbers.astype(np.float32))]))
    numbers = numbers[:: 37 if ctc.is_cuda else 1]
    frames = np.full((1, len(numbers) - 1, 18), -np.inf, dtype)
    frames[0, :, 3], frames[0, :, 17] = numbers[:-1], numbers[1:]
    (result,) = ctc.greedy(frames, [frames.shape[1]], kind="log_probs")
    assert result.tokens.tolist() == [17]
    assert result.peaks == numbers[-1].astype(np.float32)
    assert result.scores == pytest.approx(numbers[1:].astype(np.float64).mean(), rel=1e-6)
    for start in range(0, frames.shape[1], 997):
        (piece,) = ctc.greedy(frames[:, start : start + 1], [1], kind="log_probs")
        assert piece.peaks == numbers[start + 1].astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, *SMALL])
def test_any_chunking_and_batch_give_the_same_bits(ctc, dtype):
    lengths = [70, 0, 1, 69, 64]
    logits = np.stack([random_logits(70, 21, seed=seed, blank=0) for seed in range(5)])
    logits = logits.astype(dtype)
    for row, length in enumerate(lengths):
        logits[row, length:] = np.nan  # not read
    whole = ctc.greedy(logits, lengths)
    for cuts in ([35], [1, 2, 3], [0, 7, 7, 32, 64], [69], list(range(1, 70))):
        assert_same(ctc.greedy(logits, lengths, cuts=cuts), whole)
    for row, length in enumerate(lengths):
        alone = ctc.greedy(logits[row : row + 1, :length].copy(), [length])
        assert_same(alone[0], whole[row])


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, 60), max_size=12))
def test_partial_results_are_those_of_the_frames_so_far(seed, cuts):
    logits = random_logits(60, 5, seed=seed, blank=2)
    decoder = GreedyDecoder(blank=2)
    for start, end in itertools.pairwise([0, *sorted(cuts), 60]):
        decoder.step(logits[start:end])
        assert_same(decoder.partial(), decode(logits[:end], blank=2))
    assert decoder.frames == 60
    assert_same(decoder.finish(), decode(logits, blank=2))


def test_empty_input(ctc):
    (none,) = ctc.greedy(np.zeros((1, 0, 5), np.float32), [0])
    types = [np.int32, np.int64, np.int64, np.float32, np.float32]
    assert [getattr(none, name).dtype for name in ARRAYS] == types
    assert len(none) == 0
    assert len(ctc.greedy(np.zeros((1, 5, 1), np.float32), [5])[0]) == 0  # the blank alone
    if not ctc.is_cuda:
        assert ctc.greedy(np.zeros((0, 5, 3), np.float32), np.zeros(0, np.int64)) == []


@pytest.mark.parametrize("threads", [1, 2, 64])
def test_threads_change_nothing(threads):
    lengths = np.random.default_rng(3).integers(0, 51, 40)
    logits = np.stack([random_logits(50, 7, seed=seed, blank=0) for seed in range(40)])
    results = greedy_decode(logits, lengths, threads=threads)
    for row, length, result in zip(logits, lengths, results, strict=True):
        assert_same(result, decode(row[:length]))


def test_finish_resets_and_copies_are_independent():
    logits = random_logits(60, 5)
    decoder = GreedyDecoder()
    decoder.step(random_logits(20, 9, seed=5))
    decoder.finish()
    assert (decoder.frames, len(decoder.partial())) == (0, 0)
    decoder.step(logits[:30])
    first = decoder.partial()
    before = first.tokens.copy()
    twin = decoder.copy()
    twin.step(logits[::-1][:10].copy())
    decoder.step(logits[30:])
    assert_same(decoder.finish(), decode(logits))
    assert repr(twin) == "GreedyDecoder(40 frames)"
    np.testing.assert_array_equal(first.tokens, before)  # shares no memory with the decoder


def test_threads_may_share_a_decoder():
    decoder = GreedyDecoder()
    piece = random_logits(2000, 8)
    workers = [threading.Thread(target=decoder.step, args=(piece,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert_same(decoder.finish(), decode(np.tile(piece, (8, 1))))


def test_more_than_2_to_the_31_numbers(tmp_path):
    """A sparse file: only pages that are read take memory or disk."""
    shape = (3, 1 << 20, 1100)
    with (tmp_path / "logits").open("wb") as file:
        file.truncate(int(np.prod(shape)) * 4)
    logits = np.memmap(tmp_path / "logits", np.float32, "r+", shape=shape)
    expected = random_logits(4, 1100, seed=9)
    logits[2, :4] = expected
    logits.setflags(write=False)
    results = greedy_decode(np.asarray(logits), np.array([0, 1, 4]))
    assert_same(results[2], decode(expected))
    assert isinstance(results[0], GreedyResult)
