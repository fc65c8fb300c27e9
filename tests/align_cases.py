"""Random utterances with a target, and what to compare of their alignments."""

import numpy as np

from mms_kernels import forced_align


def repeats(target):
    """Return how many tokens equal the one before them."""
    return int((target[1:] == target[:-1]).sum())


def random_target(size, vocab, generator, blank=0):
    tokens = np.setdiff1d(np.arange(vocab), [blank])
    return generator.choice(tokens, size)


def whole_scores(frames, vocab, generator):
    """Few different numbers, so that many paths are equally good and every sum is exact."""
    return generator.integers(-4, 1, (frames, vocab)).astype(np.float32)


def spoken(target, frames, vocab, generator, blank=0):
    """Logits as of a model that hears the target: peaks here and there, blanks between."""
    logits = generator.normal(0, 1, (frames, vocab)).astype(np.float32)
    logits[:, blank] += 6
    at = np.sort(generator.choice(frames // 2, len(target), replace=False)) * 2
    logits[at, target] += 14
    return logits


def align(logits, target, **options):
    (alignment,) = forced_align(logits, np.asarray(target, np.int64), **options)
    return alignment


def assert_same(found, expected):
    """Bit for bit."""
    assert found.score == expected.score
    for name in ("tokens", "starts", "ends", "scores"):
        got, wanted = getattr(found, name), getattr(expected, name)
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
