"""The prefix beam on the emulated device over long streams: times, what is settled, memory."""

import itertools

import numpy as np
import pytest

from beam_cases import assert_same, frames_of, log_probs, sharp, texts
from cuda_beam import Beam
from cuda_emulation import Device
from mms_kernels import BeamDecoder, BeamOptions
from mms_kernels.cuda.arguments import Code, beam_least_arena
from mms_kernels.reference import log_softmax


def steps(beam, scores, size):
    """Read an utterance piece by piece; yields after each."""
    for start in range(0, len(scores), size):
        assert beam.step(scores[None, start : start + size]) == [Code.OK]
        yield start + size


def read(beam, scores, size):
    for _ in steps(beam, scores, size):
        pass
    return beam.results()[0]


def assert_as_on_the_cpu(found, expected):
    """Equal text and times, to the bit where no sum of exponentials is in it."""
    assert texts(found) == texts(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, rel=1e-6, abs=1e-5)
        for name in ("starts", "ends", "scores", "peaks"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def cpu(scores, **options):
    decoder = BeamDecoder(BeamOptions(**options))
    lengths = np.array([len(scores)])
    return decoder.decode(scores[None], lengths, kind="log_probs", nbest=options["beam_size"])[0]


@pytest.mark.parametrize("lookback", [0, 90, 200])
def test_equals_the_cpu(device, lookback):
    scores = sharp(700, 12, seed=lookback)
    beam = Beam(device, 1, 12, beam_size=8, lookback=lookback, arena=beam_least_arena(8) + 5000)
    found = read(beam, scores, 700)
    assert_as_on_the_cpu(found, cpu(scores, beam_size=8, lookback=lookback))


def test_lookback_drops_what_differs_too_long_ago(device):
    """The two readings of the first frame are as likely as each other, for ever."""
    scores = np.full((200, 3), -20.0, np.float32)
    scores[:, 0] = 0
    scores[0] = np.log([0.2, 0.4, 0.4])
    scores[100] = scores[1, [1, 0, 2]]
    for lookback, least in ((0, 6), (120, 1)):
        beam = Beam(device, 1, 3, beam_size=6, lookback=lookback)
        found = read(beam, scores, 200)
        assert_as_on_the_cpu(found, cpu(scores, beam_size=6, lookback=lookback))
        assert len({one.tokens[0] for one in found}) == (1 if lookback else 2)
        assert len(found) >= least


@pytest.mark.parametrize("seed", range(3))
def test_lookback_counts_from_the_end_of_a_long_token(device, seed):
    """Tokens are held for 40 frames, longer than the lookback."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 0.7, (200, 5))
    logits[np.arange(200), np.repeat([1, 2, 3, 4, 1], 40)] += 4
    scores = log_softmax(logits).astype(np.float32)
    beam = Beam(device, 1, 5, beam_size=10, lookback=20)
    assert_as_on_the_cpu(read(beam, scores, 200), cpu(scores, beam_size=10, lookback=20))


@pytest.mark.parametrize("size", [1, 7, 64, 400])
def test_cuts_and_memory_change_no_bit(emulated, size):
    scores = sharp(400, 8, seed=5)
    options = {"beam_size": 4, "lookback": 40}
    whole = read(Beam(Device(emulated), 1, 8, **options, arena=4000), scores, 400)
    small = Beam(Device(emulated, seed=size), 1, 8, **options, arena=beam_least_arena(4) + 40)
    assert_same(read(small, scores, size), whole)
    settled = np.concatenate([piece.tokens for piece in small.settled[0]])
    assert len(settled) == small.streams["settled"][0] > 40


def test_memory_does_not_grow(device):
    """Prefixes and spans are cleared away; the host need not see to it."""
    scores = np.tile(sharp(500, 8, seed=2), (4, 1))
    beam = Beam(device, 1, 8, beam_size=4, lookback=100, arena=beam_least_arena(4) + 150)
    for _ in steps(beam, scores, 250):
        assert max(beam.streams["nodes"][0], beam.streams["spans"][0]) < beam.arena
    (rest,) = beam.rest(1)[0][0]
    assert len(rest) < 60
    assert_as_on_the_cpu(beam.results()[0], cpu(scores, beam_size=4, lookback=100))


@pytest.mark.parametrize("spare", [0, 5])
def test_where_memory_is_short_less_is_kept(emulated, spare):
    """No chunk is refused, whatever is said; what is dropped depends on no cut."""
    scores = log_probs(320, 5, seed=1, spread=0.7)
    outcomes = []
    for seed, size in ((0, 320), (3, 50), (4, 64)):
        arena = beam_least_arena(6) + spare
        beam = Beam(Device(emulated, seed=seed), 1, 5, beam_size=6, arena=arena)
        outcomes.append(read(beam, scores, size))
        for one in outcomes[-1]:
            spans = frames_of(one)
            assert all(start < end for start, end in spans)
            assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))
            path = np.zeros(320, int)
            for token, (start, end) in zip(one.tokens, spans, strict=True):
                path[start:end] = token
            assert scores[np.arange(320), path].sum() <= one.log_prob + 1e-6
    assert_same(outcomes[1], outcomes[0])
    assert_same(outcomes[2], outcomes[0])
    assert texts(outcomes[0]) != texts(cpu(scores, beam_size=6, lookback=0))
    assert len(outcomes[0][0]) > 50


def test_no_more_is_dropped_than_memory_asks_for(device):
    """Every 64 frames, where memory has just been looked after."""
    scores = log_probs(640, 5, seed=1, spread=0.7)
    left = []
    for spare in (0, 10, 2000):
        beam = Beam(device, 1, 5, beam_size=6, arena=beam_least_arena(6) + spare)
        left.append([int(beam.streams["used"][0]) for _ in steps(beam, scores, 64)])
    assert sum(left[0]) < sum(left[1]) < sum(left[2]) == 60
    assert sum(1 < count < 6 for count in left[1]) > 2


def test_stable_tokens_are_those_of_the_cpu_and_do_not_change(device):
    scores = sharp(600, 10, seed=1)
    options = {"beam_size": 6, "lookback": 120}
    beam = Beam(device, 1, 10, **options)
    stream = BeamDecoder(BeamOptions(**options)).stream(kind="log_probs")
    said = ()
    for end in steps(beam, scores, 60):
        stream.step(scores[end - 60 : end])
        partial = stream.partial(nbest=6)
        found, stable = beam.rest(finish=False)
        settled = int(beam.streams["settled"][0])
        assert settled + stable[0] == partial.stable
        (whole,) = beam.results(finish=False)
        assert_as_on_the_cpu(whole, partial.hypotheses)
        assert len(found[0]) == len(whole)
        for one in texts(whole):
            assert one[: len(said)] == said
        said = texts(whole)[0][: partial.stable]
    assert len(said) > 100


def test_impossible_streams_have_no_hypotheses(device):
    """A frame has one token only, which is too unlikely to begin."""
    scores = sharp(150, 4)
    scores[100] = [-np.inf, -np.inf, -np.inf, -6]
    options = {"beam_size": 5, "token_min_logp": -5.0, "lookback": 30}
    beam = Beam(device, 1, 4, **options)
    assert texts(read(beam, scores, 70)) == texts(cpu(scores, **options)) == []
    assert beam.streams["used"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_chunks_of_any_streams(emulated, seed):
    """A row says which stream it goes on with, and where in the row its frames are."""
    generator = np.random.default_rng(seed)
    scores = np.stack([sharp(90, 7, seed=row) for row in range(5)])
    device = Device(emulated, seed=seed)
    beam = Beam(device, 5, 7, beam_size=4)
    at = np.zeros(5, int)
    while (at < 90).any():
        slots = generator.permutation(5)[:4].astype(np.int32)
        slots[generator.integers(0, 4)] = -1
        lengths = generator.integers(0, 30, 4)
        begins = generator.integers(0, 5, 4)
        data = np.full((4, 34, 7), np.nan, np.float32)
        for row, slot in enumerate(slots):
            if slot >= 0:
                lengths[row] = min(lengths[row], 90 - at[slot])
                piece = scores[slot, at[slot] : at[slot] + lengths[row]]
                data[row, begins[row] : begins[row] + lengths[row]] = piece
                at[slot] += lengths[row]
        beam.status = beam.status[:4]
        batch, infos = device.scores(data, lengths, "log_probs", begins)
        codes = beam.launch(batch, infos, slots)
        assert [code for code, slot in zip(codes, slots, strict=True) if slot >= 0] == [Code.OK] * 3
    beam.status = np.zeros(5, beam.status.dtype)
    for row, found in enumerate(beam.results()):
        alone = Beam(Device(emulated), 1, 7, beam_size=4)
        assert_same(found, read(alone, scores[row], 90))


def test_frames_that_are_not_in_the_batch_are_refused(device):
    data = np.stack([sharp(10, 6, seed=row) for row in range(3)])
    beam = Beam(device, 3, 6)
    batch, infos = device.scores(data, np.array([8, 8, 8]), "log_probs", np.array([2, 3, -1]))
    assert beam.launch(batch, infos) == [Code.OK, Code.LENGTH, Code.LENGTH]
    assert beam.streams["frame"].tolist() == [8, 0, 0]
