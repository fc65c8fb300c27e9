"""Logits to decode, and how to compare what comes out."""

import dataclasses

import numpy as np

from mms_kernels import GreedyResult, greedy_decode

EXACT = ("tokens", "starts", "ends")
FIELDS = tuple(field.name for field in dataclasses.fields(GreedyResult))


def decode(logits, *, blank=0, kind="logits"):
    """Decode one utterance, [T, V]."""
    (result,) = greedy_decode(logits[None], np.array([len(logits)]), blank=blank, kind=kind)
    return result


def assert_same(left, right):
    """Bit for bit."""
    for name in FIELDS:
        one, other = getattr(left, name), getattr(right, name)
        assert one.dtype == other.dtype, name
        assert one.tobytes() == other.tobytes(), (name, one, other)


def assert_close(result, expected, tolerance=2e-6):
    for name in EXACT:
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name), name)
    for name in ("scores", "peaks"):
        np.testing.assert_allclose(
            getattr(result, name), getattr(expected, name), rtol=tolerance, atol=tolerance
        )


def random_logits(frames, vocab, *, seed=0, spread=3.0, blank=None):
    logits = np.random.default_rng(seed).normal(0, spread, (frames, vocab)).astype(np.float32)
    if blank is not None:
        logits[np.random.default_rng(seed + 1).random(frames) < 0.7, blank] += 20
    return logits
