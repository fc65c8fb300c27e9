"""Chunks, copies, batches, threads, instruction sets: not a bit may change."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_cases import assert_same, decode, for_every_isa, frames_of, log_probs, sharp, texts
from mms_kernels import BeamDecoder, BeamOptions

SMALL = BeamOptions(beam_size=12, blank=2)


def whole(scores, options=SMALL):
    stream = BeamDecoder(options).stream(kind="log_probs")
    stream.step(scores)
    return stream.finish(nbest=100)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 30), cuts=st.lists(st.integers(0, 60), max_size=12))
def test_any_cut_gives_the_same_bits(seed, cuts):
    scores = log_probs(60, 6, seed, spread=2.0, blank=2)
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    for start, end in itertools.pairwise([0, *sorted(cuts), 60]):
        stream.step(scores[start:end])
    assert stream.frames == 60
    assert_same(stream.finish(nbest=100), whole(scores))


@pytest.mark.parametrize("kind", ["logits", "log_probs"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 250, 2000])
def test_steps_of_one_size_over_many_frames(kind, size):
    """Long enough that what is settled moves out of the trees on the way."""
    scores = sharp(2000, 12, seed=3)
    options = BeamOptions(
        beam_size=20, blank_skip=0.999 if size % 2 else 1.0, lookback=150 if size > 2 else 0
    )
    stream = BeamDecoder(options).stream(kind=kind)
    for start in range(0, 2000, size):
        stream.step(scores[start : start + size])
    (wanted,) = BeamDecoder(options).decode(scores[None], np.array([2000]), kind=kind, nbest=100)
    assert_same(stream.finish(nbest=100), wanted)


def test_partial_results_are_those_of_the_frames_so_far():
    scores = log_probs(50, 4, blank=2)
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    for frame in range(50):
        stream.step(scores[frame : frame + 1])
        assert_same(stream.partial(nbest=100).hypotheses, whole(scores[: frame + 1]))
        assert len(stream.partial(nbest=3).hypotheses) <= 3


@pytest.mark.parametrize(("lookback", "least"), [(0, 20), (300, 600)])
def test_stable_tokens_do_not_change(lookback, least):
    scores = sharp(3000, 12, seed=1)
    options = BeamOptions(beam_size=8, lookback=lookback)
    stream = BeamDecoder(options).stream(kind="log_probs")
    said = []
    for start in range(0, 3000, 50):
        stream.step(scores[start : start + 50])
        partial = stream.partial(nbest=8)
        for one in partial.hypotheses:
            tokens = one.tokens[: partial.stable].tolist()
            assert tokens[: len(said)] == said
        shared = {tuple(one.tokens[: partial.stable + 1]) for one in partial.hypotheses}
        assert len(shared) > 1 or len(partial.hypotheses[0]) == partial.stable
        said = tokens
    assert len(said) > least
    assert stream.finish()[0].tokens[: len(said)].tolist() == said


@pytest.mark.parametrize("lookback", [0, 200])
def test_taken_tokens_and_the_rest_are_the_whole(lookback):
    scores = sharp(3000, 12, seed=2)
    options = BeamOptions(beam_size=8, lookback=lookback)
    stream = BeamDecoder(options).stream(kind="log_probs")
    taken = []
    for start in range(0, 3000, 70):
        stream.step(scores[start : start + 70])
        before = stream.partial().hypotheses[0]
        stable = stream.partial().stable
        piece = stream.take_stable()
        assert len(piece) + stream.partial().stable == stable
        assert before.tokens[: len(piece)].tolist() == piece.tokens.tolist()
        assert frames_of(before)[: len(piece)] == frames_of(piece)
        taken.append(piece)
    assert len(stream.take_stable()) == 0
    (rest,) = stream.finish()
    (wanted,) = decode(scores, beam_size=8, lookback=lookback, nbest=1)
    for name in ("tokens", "starts", "ends", "scores", "peaks"):
        parts = [getattr(piece, name) for piece in [*taken, rest]]
        assert np.concatenate(parts).tobytes() == getattr(wanted, name).tobytes()
    assert lookback == 0 or len(rest) < 100 < len(wanted)
    assert (rest.log_prob, rest.score) == (wanted.log_prob, wanted.score)


def test_finish_and_reset_start_over():
    scores = log_probs(50, 5, blank=2)
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    stream.step(log_probs(20, 9, seed=5))
    stream.finish()
    assert stream.frames == 0
    stream.step(log_probs(20, 7, seed=6))
    stream.reset()
    stream.step(scores)
    assert_same(stream.finish(nbest=100), whole(scores))


def test_copies_go_on_independently():
    scores = log_probs(60, 5)
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    stream.step(scores[:30])
    twin = stream.copy()
    twin.step(scores[::-1][:10].copy())
    stream.step(scores[30:])
    assert twin.frames == 40
    assert repr(twin) == "BeamStream(40 frames)"
    assert_same(twin.finish(nbest=100), whole(np.concatenate([scores[:30], scores[:-11:-1]])))
    assert_same(stream.finish(nbest=100), whole(scores))


def test_two_streams_do_not_disturb_each_other():
    scores = [log_probs(40, 6, seed) for seed in (1, 2)]
    decoder = BeamDecoder(SMALL)
    streams = [decoder.stream(kind="log_probs") for _ in scores]
    for start in range(0, 40, 8):
        for stream, rows in zip(streams, scores, strict=True):
            stream.step(rows[start : start + 8])
    for stream, rows in zip(streams, scores, strict=True):
        assert_same(stream.finish(nbest=100), whole(rows))


def test_failed_step_changes_nothing():
    scores = log_probs(40, 6, blank=2)
    bad = scores[20:].copy()
    bad[7, 3] = np.nan
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    stream.step(scores[:20])
    with pytest.raises(ValueError, match="frame 27 of the logits holds NaN"):
        stream.step(bad)
    with pytest.raises(ValueError, match="6"):
        stream.step(log_probs(3, 7))
    assert stream.frames == 20
    stream.step(scores[20:])
    assert_same(stream.finish(nbest=100), whole(scores))


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_batch_position_and_threads_change_nothing(threads):
    generator = np.random.default_rng(3)
    lengths = generator.integers(0, 51, 40)
    lengths[:3] = [0, 1, 50]
    scores = np.stack([log_probs(50, 7, seed, blank=2) for seed in range(40)])
    for row, length in enumerate(lengths):
        scores[row, length:] = np.nan
    rows = BeamDecoder(SMALL).decode(scores, lengths, kind="log_probs", threads=threads, nbest=100)
    for row, length, found in zip(scores, lengths, rows, strict=True):
        assert_same(found, whole(row[:length]))


def test_empty_batch():
    assert BeamDecoder().decode(np.zeros((0, 5, 3), np.float32), np.zeros(0, np.int64)) == []


@pytest.mark.parametrize("vocab", [1, 5, 16, 31, 33, 200])
@pytest.mark.parametrize("beam_size", [1, 7, 8, 9, 65])
def test_instruction_sets_give_the_same_bits(vocab, beam_size):
    scores = sharp(150, vocab, seed=vocab)
    for kind in ("logits", "log_probs"):
        found = for_every_isa(lambda: decode(scores, kind=kind, beam_size=beam_size))  # noqa: B023
        for other in found[1:]:
            assert_same(found[0], other)


def test_threads_may_share_a_decoder_and_a_stream():
    decoder = BeamDecoder(SMALL)
    piece = log_probs(300, 8, blank=2)
    stream = decoder.stream(kind="log_probs")
    workers = [threading.Thread(target=stream.step, args=(piece,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        stream.partial()
        worker.join()
    assert_same(stream.finish(nbest=100), whole(np.tile(piece, (8, 1))))


def test_results_do_not_share_memory_with_the_stream():
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    stream.step(log_probs(30, 5))
    first = stream.partial().hypotheses[0]
    before = first.tokens.copy()
    stream.step(log_probs(300, 5, seed=1))
    stream.finish()
    del stream
    np.testing.assert_array_equal(first.tokens, before)


def test_nbest_is_a_prefix_of_all():
    scores = log_probs(40, 6)
    found = decode(scores, beam_size=30)
    assert len(set(texts(found))) == len(found) == 30
    for nbest in (1, 2, 29, 30):
        assert_same(decode(scores, beam_size=30, nbest=nbest), found[:nbest])
