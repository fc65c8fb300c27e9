"""Streams of the prefix beam: chunks, batches, lookback, stable tokens, copies, threads."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctc_cases import ARRAYS, assert_same, decode, frames_of, log_probs, random_logits, sharp, texts
from mms_kernels import BeamDecoder, BeamOptions
from mms_kernels.reference.greedy import log_softmax

SMALL = BeamOptions(beam_size=12, blank=2)


def whole(scores, options=SMALL):
    stream = BeamDecoder(options).stream(kind="log_probs")
    stream.step(scores)
    return stream.finish(nbest=100)


def steps(stream, scores, size):
    """Read an utterance in chunks; yields the frames read so far."""
    for start in range(0, len(scores), size):
        stream.step(scores[start : start + size])
        yield min(start + size, len(scores))


def chunked(stream, scores, size):
    for _ in steps(stream, scores, size):
        pass
    return stream.finish(nbest=100)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 30), cuts=st.lists(st.integers(0, 60), max_size=12))
def test_any_chunking_gives_the_same_bits(seed, cuts):
    scores = log_probs(60, 6, seed, spread=2.0, blank=2)
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    for start, end in itertools.pairwise([0, *sorted(cuts), 60]):
        stream.step(scores[start:end])
    assert stream.frames == 60
    assert_same(stream.finish(nbest=100), whole(scores))


@pytest.mark.parametrize("kind", ["logits", "log_probs"])
@pytest.mark.parametrize("size", [1, 3, 64, 250])
@pytest.mark.parametrize("lookback", [0, 90])
def test_chunks_of_long_utterances_give_the_same_bits(ctc, kind, size, lookback):
    """Long enough for tokens to settle on the way."""
    frames = 400 if ctc.is_cuda else 2000
    scores = sharp(frames, 12, seed=3)
    options = {"beam_size": 10, "lookback": lookback}
    (wanted,) = ctc.beam(scores[None], [frames], kind=kind, **options)
    assert_same(chunked(ctc.stream(kind=kind, **options), scores, size), wanted)
    if not ctc.is_cuda and size % 2:
        options["blank_skip"] = 0.999
        (wanted,) = ctc.beam(scores[None], [frames], kind=kind, **options)
        assert_same(chunked(ctc.stream(kind=kind, **options), scores, size), wanted)


def test_batch_equals_its_rows(ctc):
    lengths = [50, 0, 1, 49, 33]
    scores = np.stack([log_probs(50, 7, seed, blank=2) for seed in range(5)])
    for row, length in enumerate(lengths):
        scores[row, length:] = np.nan  # not read
    rows = ctc.beam(scores, lengths, beam_size=12, blank=2)
    for row, length, found in zip(scores, lengths, rows, strict=True):
        (alone,) = ctc.beam(row[None, :length].copy(), [length], beam_size=12, blank=2)
        assert_same(found, alone)


@pytest.mark.parametrize("threads", [2, 64])
def test_threads_change_nothing(threads):
    lengths = np.random.default_rng(3).integers(0, 51, 40)
    scores = np.stack([log_probs(50, 7, seed, blank=2) for seed in range(40)])
    rows = BeamDecoder(SMALL).decode(scores, lengths, kind="log_probs", threads=threads, nbest=100)
    for row, length, found in zip(scores, lengths, rows, strict=True):
        assert_same(found, whole(row[:length]))


def test_partial_results_are_those_of_the_frames_so_far(ctc):
    scores = log_probs(30, 4, blank=2)
    stream = ctc.stream(beam_size=12, blank=2)
    for end in steps(stream, scores, 1):
        expected = ctc.stream(beam_size=12, blank=2)
        expected.step(scores[:end])
        assert_same(stream.partial(nbest=100).hypotheses, expected.partial(nbest=100).hypotheses)
        assert len(stream.partial(nbest=3).hypotheses) <= 3


@pytest.mark.parametrize(("lookback", "least"), [(0, 10), (120, 100)])
def test_stable_tokens_do_not_change(ctc, lookback, least):
    scores = sharp(600, 10, seed=1)
    options = {"beam_size": 6, "lookback": lookback}
    stream = ctc.stream(**options)
    cpu = BeamDecoder(BeamOptions(**options)).stream(kind="log_probs")
    said = ()
    for end in steps(stream, scores, 60):
        cpu.step(scores[end - 60 : end])
        partial = stream.partial(nbest=6)
        assert partial.stable == cpu.partial().stable
        found = texts(partial.hypotheses)
        for one in found:
            assert one[: len(said)] == said
        shared = {one[: partial.stable + 1] for one in found}
        assert len(shared) > 1 or len(found[0]) == partial.stable
        said = found[0][: partial.stable]
    assert len(said) > least
    assert texts(stream.finish())[0][: len(said)] == said


@pytest.mark.parametrize("lookback", [0, 200])
def test_taken_tokens_and_the_rest_are_the_whole(lookback):
    scores = sharp(3000, 12, seed=2)
    options = BeamOptions(beam_size=8, lookback=lookback)
    stream = BeamDecoder(options).stream(kind="log_probs")
    taken = []
    for _ in steps(stream, scores, 70):
        before = stream.partial()
        piece = stream.take_stable()
        assert len(piece) + stream.partial().stable == before.stable
        assert before.hypotheses[0].tokens[: len(piece)].tolist() == piece.tokens.tolist()
        assert frames_of(before.hypotheses[0])[: len(piece)] == frames_of(piece)
        taken.append(piece)
    assert len(stream.take_stable()) == 0
    (rest,) = stream.finish()
    (wanted,) = decode(scores, beam_size=8, lookback=lookback, nbest=1)
    for name in ARRAYS:
        parts = [getattr(piece, name) for piece in [*taken, rest]]
        assert np.concatenate(parts).tobytes() == getattr(wanted, name).tobytes()
    assert lookback == 0 or len(rest) < 100 < len(wanted)
    assert (rest.log_prob, rest.score) == (wanted.log_prob, wanted.score)


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_taken_tokens_are_common_to_all_hypotheses(spread):
    """60 frames, fewer than those after which a stream settles by itself."""
    decoder = BeamDecoder(BeamOptions(beam_size=8))
    taken, kept = 0, 0
    for seed in range(20):
        stream = decoder.stream(kind="log_probs")
        stream.step(log_probs(60, 6, seed, spread))
        hypotheses = stream.partial(nbest=8).hypotheses
        piece = stream.take_stable()
        for one, name in itertools.product(hypotheses, ("tokens", "starts", "ends")):
            assert np.array_equal(getattr(one, name)[: len(piece)], getattr(piece, name))
        taken += len(piece)
        kept += len(hypotheses[0].tokens) - len(piece)
    assert taken > 0
    assert kept > 20


def test_lookback_drops_old_differences(ctc):
    """The two readings of the first frame stay equally likely for ever."""
    scores = np.full((200, 3), -20.0, np.float32)
    scores[:, 0] = 0
    scores[0] = np.log([0.2, 0.4, 0.4])
    scores[100] = scores[1, [1, 0, 2]]
    for lookback, readings in ((0, 2), (120, 1)):
        (found,) = ctc.beam(scores[None], [200], beam_size=6, lookback=lookback)
        assert texts(found) == texts(decode(scores, beam_size=6, lookback=lookback))
        assert len({one.tokens[0] for one in found}) == readings


@pytest.mark.parametrize("seed", range(3))
def test_lookback_counts_from_the_end_of_a_long_token(ctc, seed):
    """Tokens of 40 frames, longer than the lookback."""
    logits = random_logits(200, 5, seed=seed, spread=0.7)
    logits[np.arange(200), np.repeat([1, 2, 3, 4, 1], 40)] += 4
    scores = log_softmax(logits).astype(np.float32)
    (found,) = ctc.beam(scores[None], [200], beam_size=10, lookback=20)
    expected = decode(scores, beam_size=10, lookback=20)
    assert texts(found) == texts(expected)
    assert [frames_of(one) for one in found] == [frames_of(one) for one in expected]


def test_impossible_stream_has_no_hypotheses(ctc):
    """No hypothesis of the full beam can go on with the only possible token, which is taken."""
    scores = np.full((150, 4), -np.inf, np.float32)
    scores[:, 0] = 0
    scores[100, :] = [-np.inf, -np.inf, -np.inf, -6]
    found = ctc.beam(scores[None], [150], beam_size=5, token_min_logp=-5.0, lookback=30)[0]
    assert texts(found) == [(3,)]  # the most likely token of its frame is never cut


def test_finish_and_reset_start_over(ctc):
    scores = log_probs(50, 5, blank=2)
    stream = ctc.stream(beam_size=12, blank=2)
    stream.step(log_probs(20, 9, seed=5))
    stream.finish()
    assert stream.frames == 0
    if not ctc.is_cuda:
        stream.step(log_probs(20, 7, seed=6))
        stream.reset()
    stream.step(scores)
    (wanted,) = ctc.beam(scores[None], [50], beam_size=12, blank=2)
    assert_same(stream.finish(nbest=100), wanted)


def test_copies_and_results_are_independent():
    scores = log_probs(60, 5)
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    stream.step(scores[:30])
    first = stream.partial().hypotheses[0]
    before = first.tokens.copy()
    twin = stream.copy()
    twin.step(scores[::-1][:10].copy())
    stream.step(scores[30:])
    assert repr(twin) == "BeamStream(40 frames)"
    assert_same(twin.finish(nbest=100), whole(np.concatenate([scores[:30], scores[:-11:-1]])))
    assert_same(stream.finish(nbest=100), whole(scores))
    np.testing.assert_array_equal(first.tokens, before)


def test_streams_of_a_decoder_are_independent():
    scores = [log_probs(40, 6, seed) for seed in (1, 2)]
    decoder = BeamDecoder(SMALL)
    streams = [decoder.stream(kind="log_probs") for _ in scores]
    for start in range(0, 40, 8):
        for stream, rows in zip(streams, scores, strict=True):
            stream.step(rows[start : start + 8])
    for stream, rows in zip(streams, scores, strict=True):
        assert_same(stream.finish(nbest=100), whole(rows))


def test_threads_may_share_a_decoder_and_a_stream():
    piece = log_probs(300, 8, blank=2)
    stream = BeamDecoder(SMALL).stream(kind="log_probs")
    workers = [threading.Thread(target=stream.step, args=(piece,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        stream.partial()
        worker.join()
    assert_same(stream.finish(nbest=100), whole(np.tile(piece, (8, 1))))


def test_nbest_is_a_prefix_of_all():
    scores = log_probs(40, 6)
    found = decode(scores, beam_size=30)
    assert len(set(texts(found))) == len(found) == 30
    for nbest in (1, 2, 29, 30):
        assert_same(decode(scores, beam_size=30, nbest=nbest), found[:nbest])
