"""Inputs and comparisons of the tests of the prefix beam."""

import numpy as np

from mms_kernels import BeamDecoder, BeamOptions, _ctc, reference

ARRAYS = ("tokens", "starts", "ends", "scores", "peaks")
NUMBERS = ("log_prob", "lm_score", "bonus", "score")


def log_probs(frames, vocab, seed=0, spread=3.0, blank=None):
    """Random natural-log probabilities, float32[T, V]; `blank` gets the greatest share."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, spread, (frames, vocab))
    if blank is not None:
        logits[generator.random(frames) < 0.7, blank] += 4 * spread
    scores = reference.log_softmax(logits) if frames else logits
    return scores.astype(np.float32)


def sharp(frames, vocab, seed=0):
    """Log-probabilities as a trained model gives them: one token wins almost every frame."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (frames, vocab))
    winners = np.where(generator.random(frames) < 0.25, generator.integers(0, vocab, frames), 0)
    logits[np.arange(frames), winners] += generator.normal(12, 2, frames)
    close = generator.random(frames) < 0.05
    logits[close, generator.integers(0, vocab, frames)[close]] += 11
    return reference.log_softmax(logits).astype(np.float32)


def decode(scores, *, nbest=100_000, kind="log_probs", models=None, **options):
    """All hypotheses of one utterance."""
    decoder = BeamDecoder(BeamOptions(**options), **(models or {}))
    (found,) = decoder.decode(scores[None], np.array([len(scores)]), kind=kind, nbest=nbest)
    return found


def texts(hypotheses):
    return [tuple(one.tokens.tolist()) for one in hypotheses]


def frames_of(hypothesis):
    return list(zip(hypothesis.starts.tolist(), hypothesis.ends.tolist(), strict=True))


def assert_same(left, right):
    """Equal to the last bit."""
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        for name in ARRAYS:
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
        for name in NUMBERS:
            assert getattr(one, name) == getattr(other, name), name


def close(value, wanted, tolerance=1e-9):
    return value == wanted or abs(value - wanted) <= tolerance * max(1.0, abs(wanted))


def for_every_isa(call):
    """Call with each instruction set and return the results."""
    before = _ctc.isa()
    results = []
    try:
        for name in _ctc.isas():
            _ctc.use_isa(name)
            results.append(call())
    finally:
        _ctc.use_isa(before)
    return results
