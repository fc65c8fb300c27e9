import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from greedy_results import FIELDS, assert_close, assert_same, decode, random_logits
from mms_kernels import GreedyDecoder, greedy_decode, reference

# Against the oracle


@pytest.mark.parametrize("vocab", [1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 154, 1000, 3001])
@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
def test_equals_the_reference(vocab, spread):
    for blank in {0, vocab // 2, vocab - 1}:
        logits = random_logits(200, vocab, seed=vocab, spread=spread, blank=blank)
        assert_close(decode(logits, blank=blank), reference.greedy_decode(logits, blank=blank))


@settings(deadline=None, max_examples=300)
@given(
    logits=arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 12), st.integers(1, 40)),
        # Few different values: many ties and repeats.
        elements=st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0, -np.inf]),
    ),
    data=st.data(),
)
def test_equals_the_reference_with_ties_and_repeats(logits, data):
    logits[np.isneginf(logits).all(axis=1), 0] = 0.0
    blank = data.draw(st.integers(0, logits.shape[1] - 1))
    assert_close(decode(logits, blank=blank), reference.greedy_decode(logits, blank=blank))


@pytest.mark.parametrize("vocab", [5, 16, 100])
def test_equal_logits_go_to_the_lowest_id(vocab):
    for low in range(vocab):
        logits = np.zeros((1, vocab), np.float32)
        logits[0, low:] = 1.0
        expected = [low] if low != 0 else []
        assert decode(logits).tokens.tolist() == expected


def test_zeros_of_either_sign_are_equal():
    logits = np.array([[-1.0, -0.0, 0.0]], np.float32)
    assert decode(logits).tokens.tolist() == [1]


def test_repeats_collapse_and_a_blank_parts_them():
    path = [0, 1, 1, 0, 1, 2, 2, 2, 0, 0, 2]
    logits = np.full((len(path), 3), -10.0, np.float32)
    logits[np.arange(len(path)), path] = 10.0
    result = decode(logits)
    assert result.tokens.tolist() == [1, 1, 2, 2]
    assert result.starts.tolist() == [1, 4, 5, 10]
    assert result.ends.tolist() == [3, 5, 8, 11]
    assert len(result) == 4


def test_score_is_the_mean_and_peak_the_greatest_log_probability():
    logits = np.log(np.array([[0.1, 0.9], [0.4, 0.6], [0.9, 0.1]], np.float32))
    result = decode(logits)
    assert result.scores == pytest.approx((np.log(0.9) + np.log(0.6)) / 2, abs=1e-6)
    assert result.peaks == pytest.approx(np.log(0.9), abs=1e-6)


@pytest.mark.parametrize("offset", [-1e4, 1e4, 1e30])
def test_a_constant_added_to_a_frame_changes_nothing(offset):
    logits = np.array([[1.0, 0.0, -1.0, 0.5]], np.float32) * np.float32(1e3 if offset < 1e5 else 1)
    moved = logits + np.float32(offset)
    assert_close(decode(moved, blank=3), reference.greedy_decode(moved, blank=3), 1e-5)


def test_columns_of_minus_infinity_change_nothing():
    """The head is padded with them to the largest vocabulary of a batch."""
    logits = random_logits(100, 40, blank=0)
    padded = np.full((100, 200), -np.inf, np.float32)
    padded[:, :40] = logits
    assert_close(decode(padded), decode(logits), 1e-6)


def test_tokens_far_below_the_peak_add_nothing():
    logits = np.full((1, 50), -1e30, np.float32)
    logits[0, 7] = 0.0
    assert decode(logits).scores.tolist() == [0.0]


def test_scores_are_never_positive():
    result = decode(random_logits(5000, 32, spread=30.0))
    assert (result.scores <= 0).all()
    assert (result.peaks <= 0).all()
    assert (result.scores <= result.peaks).all()


def test_vocabulary_of_the_blank_alone():
    assert len(decode(np.zeros((5, 1), np.float32))) == 0


def test_no_frames():
    result = decode(np.zeros((0, 5), np.float32))
    assert [getattr(result, name).dtype for name in FIELDS] == [
        np.int32,
        np.int64,
        np.int64,
        np.float32,
        np.float32,
    ]
    assert len(result) == 0


def test_empty_batch():
    assert greedy_decode(np.zeros((0, 5, 3), np.float32), np.zeros(0, np.int64)) == []


# Chunks, batches, threads


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, 60), max_size=12))
def test_any_cut_gives_the_same_bits(seed, cuts):
    logits = random_logits(60, 5, seed=seed, blank=2)
    decoder = GreedyDecoder(blank=2)
    bounds = [0, *sorted(cuts), 60]
    for start, end in itertools.pairwise(bounds):
        decoder.step(logits[start:end])
    assert decoder.frames == 60
    assert_same(decoder.finish(), decode(logits, blank=2))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_partial_results_are_those_of_the_frames_so_far(size):
    logits = random_logits(50, 4, blank=0)
    decoder = GreedyDecoder()
    for start in range(0, 50, size):
        decoder.step(logits[start : start + size])
        assert_same(decoder.partial(), decode(logits[: start + size]))


def test_finish_starts_over():
    logits = random_logits(50, 4, blank=0)
    decoder = GreedyDecoder()
    decoder.step(random_logits(20, 9, seed=5))
    decoder.finish()
    assert (decoder.frames, len(decoder.partial())) == (0, 0)
    decoder.step(logits)
    assert_same(decoder.finish(), decode(logits))


def test_copies_go_on_independently():
    logits = random_logits(60, 5)
    decoder = GreedyDecoder()
    decoder.step(logits[:30])
    twin = decoder.copy()
    twin.step(logits[::-1][:10].copy())
    decoder.step(logits[30:])
    assert_same(decoder.finish(), decode(logits))
    assert twin.frames == 40
    assert repr(twin) == "GreedyDecoder(40 frames)"


def test_results_do_not_share_memory_with_the_decoder():
    decoder = GreedyDecoder()
    decoder.step(random_logits(30, 5))
    first = decoder.partial()
    before = first.tokens.copy()
    decoder.step(random_logits(300, 5, seed=1))
    decoder.finish()
    del decoder
    np.testing.assert_array_equal(first.tokens, before)


def test_two_streams_do_not_disturb_each_other():
    logits = [random_logits(40, 6, seed=seed) for seed in (1, 2)]
    decoders = [GreedyDecoder(), GreedyDecoder()]
    for start in range(0, 40, 8):
        for decoder, rows in zip(decoders, logits, strict=True):
            decoder.step(rows[start : start + 8])
    for decoder, rows in zip(decoders, logits, strict=True):
        assert_same(decoder.finish(), decode(rows))


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_batch_position_and_threads_change_nothing(threads):
    generator = np.random.default_rng(3)
    lengths = generator.integers(0, 51, 40)
    lengths[:3] = [0, 1, 50]
    logits = np.stack([random_logits(50, 7, seed=seed, blank=0) for seed in range(40)])
    results = greedy_decode(logits, lengths, threads=threads)
    assert len(results) == 40
    for row, length, result in zip(logits, lengths, results, strict=True):
        assert_same(result, decode(row[:length]))


def test_frames_beyond_the_length_are_not_read():
    logits = random_logits(20, 5)[None].repeat(2, axis=0)
    logits[:, 12:] = np.nan
    results = greedy_decode(logits, np.array([12, 0]))
    assert_same(results[0], decode(random_logits(20, 5)[:12]))
    assert len(results[1]) == 0


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
    """A sparse file: only the pages that are read take memory or disk."""
    shape = (3, 1 << 20, 1100)
    with (tmp_path / "logits").open("wb") as file:
        file.truncate(int(np.prod(shape)) * 4)
    logits = np.memmap(tmp_path / "logits", np.float32, "r+", shape=shape)
    expected = random_logits(4, 1100, seed=9)
    logits[2, :4] = expected
    results = greedy_decode(np.asarray(logits), np.array([0, 1, 4]))
    assert_same(results[2], decode(expected))


def test_read_only_and_mapped_arrays_are_fine():
    logits = random_logits(30, 5)
    logits.setflags(write=False)
    assert_same(decode(logits), decode(logits.copy()))
