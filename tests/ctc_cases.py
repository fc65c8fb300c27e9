"""Inputs and comparisons of the kernels' tests."""

import numpy as np

from mms_kernels import BeamDecoder, BeamOptions
from mms_kernels.reference.greedy import log_softmax

EXACT = ("tokens", "starts", "ends")
ARRAYS = (*EXACT, "scores", "peaks")
NUMBERS = ("log_prob", "lm_score", "bonus", "score")


def random_logits(frames, vocab, *, seed=0, spread=3.0, blank=None):
    """Normal float32[T, V]; `blank` wins most frames."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, spread, (frames, vocab))
    if blank is not None:
        logits[generator.random(frames) < 0.7, blank] += 4 * spread
    return logits.astype(np.float32)


def log_probs(frames, vocab, seed=0, spread=3.0, blank=None):
    """Normalised `random_logits`."""
    logits = random_logits(frames, vocab, seed=seed, spread=spread, blank=blank)
    return log_softmax(logits).astype(np.float32) if frames else logits


def sharp(frames, vocab, seed=0):
    """Log-probabilities like those of a trained model: one token wins almost every frame."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (frames, vocab))
    winners = np.where(generator.random(frames) < 0.25, generator.integers(0, vocab, frames), 0)
    logits[np.arange(frames), winners] += generator.normal(12, 2, frames)
    close = generator.random(frames) < 0.05
    logits[close, generator.integers(0, vocab, frames)[close]] += 11
    return log_softmax(logits).astype(np.float32)


def whole_scores(frames, vocab, generator):
    """Few different integers: many equally good paths, and exact sums."""
    return generator.integers(-4, 1, (frames, vocab)).astype(np.float32)


def repeats(target):
    """Return the number of tokens that equal their predecessor."""
    return int((target[1:] == target[:-1]).sum())


def random_target(size, vocab, generator, blank=0):
    return generator.choice(np.setdiff1d(np.arange(vocab), [blank]), size)


def spoken(target, frames, vocab, generator, blank=0):
    """Logits with a peak for each token of the target and blanks between."""
    logits = generator.normal(0, 1, (frames, vocab)).astype(np.float32)
    logits[:, blank] += 6
    at = np.sort(generator.choice(frames // 2, len(target), replace=False)) * 2
    logits[at, target] += 14
    return logits


def decode(scores, *, nbest=100_000, kind="log_probs", models=None, **options):
    """All hypotheses of one utterance by the CPU beam."""
    decoder = BeamDecoder(BeamOptions(**options), **(models or {}))
    (found,) = decoder.decode(scores[None], np.array([len(scores)]), kind=kind, nbest=nbest)
    return found


def texts(hypotheses):
    return [tuple(one.tokens.tolist()) for one in hypotheses]


def frames_of(hypothesis):
    return list(zip(hypothesis.starts.tolist(), hypothesis.ends.tolist(), strict=True))


def assert_same(left, right):
    """Equal bits: one result, or a list of them."""
    if isinstance(left, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
        return
    for name in (*ARRAYS, *NUMBERS):
        if hasattr(left, name):
            one, other = np.asarray(getattr(left, name)), np.asarray(getattr(right, name))
            assert one.dtype == other.dtype, name
            assert one.tobytes() == other.tobytes(), (name, one, other)


def assert_close(result, expected, tolerance=2e-6):
    """Equal tokens and frames, scores within the tolerance."""
    for name in EXACT:
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name), name)
    for name in ("scores", "peaks"):
        if hasattr(expected, name):
            one, other = getattr(result, name), getattr(expected, name)
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def close(value, wanted, tolerance=1e-9):
    return value == wanted or abs(value - wanted) <= tolerance * max(1.0, abs(wanted))
