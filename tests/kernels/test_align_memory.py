"""Memory limits and bands of an alignment change its run time and nothing else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ctc_cases import assert_same, random_target, repeats, spoken, whole_scores
from mms_kernels import _ctc, forced_align

MEGABYTE = 1 << 20


def align(logits, target, **options):
    (alignment,) = forced_align(logits, np.asarray(target, np.int64), **options)
    return alignment


def least_bytes(logits, target, **options):
    with pytest.raises(ValueError, match=r"^row 0: max_bytes is 1, to align") as caught:
        align(logits, target, max_bytes=1, **options)
    return int(re.search(r"(\d+)$", str(caught.value))[1])


def test_every_bound_and_band_gives_the_same_bits(cpu):
    generator = np.random.default_rng(0)
    target = random_target(900, 8, generator)
    for scores in (whole_scores(4000, 8, generator), spoken(target, 4000, 8, generator)):
        _ctc.use_isa("scalar")
        expected = align(scores, target)
        _ctc.use_isa(cpu.isa)
        assert_same(align(scores, target), expected)
        least = least_bytes(scores, target)
        assert least < 300_000
        for max_bytes in (least, 2 * least, 4 * least, MEGABYTE, 4 * MEGABYTE):
            assert_same(align(scores, target, max_bytes=max_bytes), expected)
        for band in (1, 50, 500, 5000):
            assert_same(align(scores, target, band=band), expected)
        assert_same(align(scores, target, band=100, max_bytes=2 * least), expected)


def test_many_small_cases_at_the_tightest_bound():
    generator = np.random.default_rng(1)
    for _ in range(100):
        target = random_target(int(generator.integers(0, 150)), 4, generator)
        frames = len(target) + repeats(target) + int(generator.integers(1, 300))
        scores = whole_scores(frames, 4, generator)
        expected = align(scores, target, kind="log_probs")
        least = least_bytes(scores, target, kind="log_probs")
        for band in (None, 3):
            found = align(scores, target, kind="log_probs", max_bytes=least, band=band)
            assert_same(found, expected)


def test_band_finds_a_path_far_from_the_diagonal():
    """All speech is in the last tenth: without its proof a narrow band would be wrong."""
    generator = np.random.default_rng(2)
    target = random_target(150, 10, generator)
    logits = generator.normal(0, 1, (6000, 10)).astype(np.float32)
    logits[:, 0] += 8
    logits[5400:] = spoken(target, 600, 10, generator)
    expected = align(logits, target)
    assert expected.starts[0] >= 5400
    for band in (10, 100, 1000):
        assert_same(align(logits, target, band=band), expected)


def test_share_of_each_thread():
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(4, 600, 5)).astype(np.float32)
    targets = generator.integers(1, 5, (4, 200))
    expected = forced_align(logits, targets)
    for found, wanted in zip(
        forced_align(logits, targets, max_bytes=300_000, threads=4), expected, strict=True
    ):
        assert_same(found, wanted)


def test_more_than_2_to_the_31_cells():
    """12 hours with a token every 40 seconds; other aligners crash."""
    frames, tokens = 2_200_000, 1100
    target = np.arange(tokens) % 2 + 1
    starts = np.arange(tokens) * 1999 + 7
    scores = np.full((frames, 3), -9.0, np.float32)
    scores[:, 0] = -0.125
    scores[starts, 0] = -9.0
    scores[starts, target] = -0.25
    found = align(scores, target, kind="log_probs", max_bytes=32 * MEGABYTE)
    np.testing.assert_array_equal(found.starts, starts)
    np.testing.assert_array_equal(found.ends, starts + 1)
    assert found.score == -0.125 * (frames - tokens) - 0.25 * tokens


HOURS = """
import sys
import numpy as np
from mms_kernels import forced_align
from peak_memory import begin_peak, peak_bytes

frames, tokens, bound = (int(word) for word in sys.argv[1:])
generator = np.random.default_rng(0)
target = generator.integers(1, 4, tokens)
logits = generator.standard_normal((frames, 4), np.float32)
forced_align(logits[:400], target[:100])
before = begin_peak()
(found,) = forced_align(logits, target, max_bytes=bound)
after = peak_bytes()
assert (found.starts[1:] >= found.ends[:-1]).all() and found.ends[-1] <= frames
assert (found.ends > found.starts).all()
print(after - before)
"""


def growth(frames, tokens, bound):
    command = [sys.executable, "-c", HOURS, str(frames), str(tokens), str(bound)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return int(done.stdout)


def test_memory_of_the_process():
    """20 minutes of dense speech: its back-pointers would take 200 MB."""
    bound = 16 * MEGABYTE
    assert growth(60_000, 18_000, bound) < bound + 4 * MEGABYTE


@pytest.mark.skipif(not os.environ.get("MMS_HOURS"), reason="a minute of work: set MMS_HOURS=1")
def test_three_hours_of_dense_speech():
    """15 tokens a second; 1.7e11 cells, far more than 2^31."""
    bound = 256 * MEGABYTE
    assert growth(540_000, 162_000, bound) < bound + 16 * MEGABYTE
