"""Greedy decoding on the emulated device."""

import numpy as np
import pytest

from cuda_emulation import Device, Greedy, codes, from_bfloat16, to_bfloat16
from greedy_results import assert_close, random_logits
from mms_kernels import GreedyResult, greedy_decode, reference
from mms_kernels.cuda.arguments import Code

OK = Code.OK


def decode(device, logits, lengths, *, blank=0, kind="logits"):
    status, rows = Greedy(device, len(logits), blank).step(logits, lengths, kind=kind, finish=True)
    assert codes(status) == [OK] * len(logits)
    return [GreedyResult(**row) for row in rows]


@pytest.mark.parametrize("vocab", [1, 2, 31, 32, 33, 154, 3001])
def test_equals_the_reference_and_the_cpu(device, vocab):
    for blank in {0, vocab // 2, vocab - 1}:
        logits = random_logits(45, vocab, seed=vocab, blank=blank)
        (result,) = decode(device, logits[None], [45], blank=blank)
        assert_close(result, reference.greedy_decode(logits, blank=blank), 1e-5)
        (cpu,) = greedy_decode(logits[None], np.array([45]), blank=blank)
        assert_close(result, cpu, 1e-5)


def test_ties_go_to_the_lowest_id(device):
    logits = np.random.default_rng(0).integers(0, 3, (1, 64, 70)).astype(np.float32)
    (result,) = decode(device, logits, [64])
    assert_close(result, reference.greedy_decode(logits[0]), 1e-5)


def test_log_probs_are_taken_as_they_are(device):
    log_probs = random_logits(40, 20) - 5  # far from normalised: nothing may be done to them
    (result,) = decode(device, log_probs[None], [40], kind="log_probs")
    best = log_probs.argmax(axis=1)
    spans = zip(result.tokens, result.starts, result.ends, result.scores, strict=True)
    for token, start, end, score in spans:
        assert (best[start:end] == token).all()
        assert score == pytest.approx(log_probs[start:end, token].mean(), rel=1e-5)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_halves_are_widened_exactly(device, kind):
    logits = random_logits(30, 40, spread=3.0)
    logits[:, 7] *= 1e-6  # subnormal as float16
    logits[3, 5] = -np.inf
    narrow = to_bfloat16(logits) if kind == "bfloat16" else logits.astype(np.float16)
    wide = from_bfloat16(narrow) if kind == "bfloat16" else narrow.astype(np.float32)
    (result,) = decode(device, narrow[None], [30])
    assert_close(result, reference.greedy_decode(wide), 1e-5)


def test_every_cut_gives_the_same_bits(device):
    logits = random_logits(70, 12, seed=5, blank=0)
    (whole,) = decode(device, logits[None], [70])
    for step in (1, 7, 32, 33):
        greedy = Greedy(device, 1)
        parts = []
        for start in range(0, 70, step):
            chunk = logits[None, start : start + step]
            _, (tokens,) = greedy.step(chunk, [chunk.shape[1]], finish=start + step >= 70)
            parts.append(tokens)
        for name in ("tokens", "starts", "ends", "scores", "peaks"):
            joined = np.concatenate([part[name] for part in parts])
            assert joined.tobytes() == getattr(whole, name).tobytes(), (step, name)


@pytest.mark.parametrize("seed", range(4))
def test_batch_is_its_rows_in_any_order_of_threads(emulated, seed):
    lengths = [0, 33, 1, 64, 20]
    logits = np.stack([random_logits(64, 9, seed=row, blank=0) for row in range(5)])
    for row, length in enumerate(lengths):
        logits[row, length:] = np.nan  # not read
    results = decode(Device(emulated, seed=seed, threads=128), logits, lengths)
    alone = Device(emulated, threads=32)
    for row, length in enumerate(lengths):
        (expected,) = decode(alone, logits[row : row + 1, :length].copy(), [length])
        for name in ("tokens", "starts", "ends", "scores", "peaks"):
            assert getattr(results[row], name).tobytes() == getattr(expected, name).tobytes()


def test_bad_frames_are_reported_and_leave_the_stream(device):
    logits = np.stack([random_logits(40, 6, seed=row) for row in range(5)])
    greedy = Greedy(device, 5)
    greedy.step(logits, [40] * 5)
    before = greedy.streams.copy()
    bad = logits.copy()
    bad[0, 35, 5] = np.nan
    bad[1, 0, 0] = np.inf
    bad[2, 39] = -np.inf
    bad[3, 39] = np.nan  # beyond its length
    status, rows = greedy.step(bad, [40, 40, 40, 39, 41])
    assert codes(status) == [Code.NAN, Code.INFINITE, Code.EMPTY, OK, Code.LENGTH]
    assert status["frame"].tolist() == [35, 0, 39, 0, 0]
    assert [len(row["tokens"]) for row in rows][:3] == [0, 0, 0]
    for row in (0, 1, 2, 4):
        assert greedy.streams[row] == before[row]
    status, _ = greedy.step(logits, [40] * 5, capacity=40)
    assert codes(status) == [Code.CAPACITY] * 5
    assert greedy.streams[0] == before[0]
