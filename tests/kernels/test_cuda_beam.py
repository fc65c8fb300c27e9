"""The CUDA beam's memory, batches of chunks, and independence of thread order."""

import itertools

import numpy as np
import pytest

from ctc_cases import assert_close, assert_same, decode, frames_of, log_probs, sharp, texts
from cuda_beam import Beam
from cuda_emulation import Device
from mms_kernels.cuda.arguments import Code, beam_least_arena


def steps(beam, scores, size):
    """Read an utterance in chunks; yields after each."""
    for start in range(0, len(scores), size):
        assert beam.step(scores[None, start : start + size]) == [Code.OK]
        yield start + size


def read(beam, scores, size):
    for _ in steps(beam, scores, size):
        pass
    return beam.results()[0]


@pytest.mark.parametrize("seed", range(4))
def test_thread_order_and_block_size_change_no_bit(emulated, seed):
    cases = np.stack([log_probs(21, 9, seed=row, spread=2) for row in range(4)])
    whole = Beam(Device(emulated, threads=32), 4, 9, beam_size=5)
    whole.step(cases)
    cut = Beam(Device(emulated, seed=seed, threads=96), 4, 9, beam_size=5, threads=32 * (seed + 1))
    for start in range(0, 21, 2 + seed):
        cut.step(np.ascontiguousarray(cases[:, start : start + 2 + seed]))
    assert_same(cut.results(), whole.results())


@pytest.mark.parametrize("size", [7, 64])
def test_small_memory_changes_no_bit(emulated, size):
    scores = sharp(400, 8, seed=5)
    options = {"beam_size": 4, "lookback": 40}
    whole = read(Beam(Device(emulated), 1, 8, **options, arena=4000), scores, 400)
    small = Beam(Device(emulated, seed=size), 1, 8, **options, arena=beam_least_arena(4) + 40)
    assert_same(read(small, scores, size), whole)
    settled = np.concatenate([piece.tokens for piece in small.settled[0]])
    assert len(settled) == small.streams["settled"][0] > 40


def test_memory_does_not_grow(device):
    """Prefixes and spans are compacted without help of the host."""
    scores = np.tile(sharp(500, 8, seed=2), (4, 1))
    beam = Beam(device, 1, 8, beam_size=4, lookback=100, arena=beam_least_arena(4) + 150)
    for _ in steps(beam, scores, 250):
        assert max(beam.streams["nodes"][0], beam.streams["spans"][0]) < beam.arena
    (rest,) = beam.rest(1)[0][0]
    assert len(rest) < 60
    expected = decode(scores, beam_size=4, lookback=100)
    for one, other in zip(beam.results()[0], expected, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("spare", [0, 5])
def test_full_memory_drops_hypotheses_deterministically(emulated, spare):
    """No chunk is refused; what is dropped does not depend on the chunks."""
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
    assert texts(outcomes[0]) != texts(decode(scores, beam_size=6, lookback=0))
    assert len(outcomes[0][0]) > 50


def test_full_memory_drops_no_more_than_needed(device):
    scores = log_probs(640, 5, seed=1, spread=0.7)
    left = []
    for spare in (0, 10, 2000):
        beam = Beam(device, 1, 5, beam_size=6, arena=beam_least_arena(6) + spare)
        left.append([int(beam.streams["used"][0]) for _ in steps(beam, scores, 64)])
    assert sum(left[0]) < sum(left[1]) < sum(left[2]) == 60
    assert sum(1 < count < 6 for count in left[1]) > 2


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_chunks_of_any_streams(emulated, seed):
    """A row names its stream, and where in the row its frames begin."""
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


def test_frames_outside_the_batch_are_refused(device):
    data = np.stack([sharp(10, 6, seed=row) for row in range(3)])
    beam = Beam(device, 3, 6)
    batch, infos = device.scores(data, np.array([8, 8, 8]), "log_probs", np.array([2, 3, -1]))
    assert beam.launch(batch, infos) == [Code.OK, Code.LENGTH, Code.LENGTH]
    assert beam.streams["frame"].tolist() == [8, 0, 0]
