"""Approximations of the prefix beam, and option checks."""

import math

import numpy as np
import pytest

from ctc_cases import close, decode, log_probs, texts
from mms_kernels import BeamDecoder, BeamOptions


def test_beam_threshold():
    scores = log_probs(30, 8, spread=1.0)
    for threshold in (0.0, 0.5, 3.0):
        found = decode(scores, beam_size=40, beam_threshold=threshold)
        assert found[0].score - found[-1].score <= threshold
    assert len(decode(scores, beam_size=40, beam_threshold=0.0)) == 1


def test_blank_skip_separates_repeats():
    scores = np.log(np.array([[0.1, 0.8, 0.1], [0.98, 0.01, 0.01], [0.1, 0.8, 0.1]], np.float32))
    for skip in (0.9, 1.0):
        assert decode(scores, blank_skip=skip)[0].tokens.tolist() == [1, 1]


def test_blank_skip_changes_little_where_the_blank_is_certain():
    generator = np.random.default_rng(0)
    rows = log_probs(30, 6, spread=1.0)
    certain = np.log(np.float32([1 - 5e-10] + [1e-10] * 5)).astype(np.float32)
    scores = np.concatenate([rows, np.tile(certain, (60, 1))])
    scores = scores[generator.permutation(90)]
    exact = decode(scores, beam_size=30)
    skipped = decode(scores, beam_size=30, blank_skip=0.999)
    assert texts(skipped) == texts(exact)
    for one, other in zip(skipped, exact, strict=True):
        assert close(one.log_prob, other.log_prob, 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size must be at least 1"),
        ({"beam_size": 65537}, "at most 65536"),
        ({"blank": -1}, "blank must not be negative"),
        ({"token_min_logp": math.nan}, "token_min_logp must be at most 0"),
        ({"token_min_logp": 0.1}, "token_min_logp must be at most 0"),
        ({"beam_threshold": -1.0}, "beam_threshold must not be negative"),
        ({"beam_threshold": math.nan}, "beam_threshold must not be negative"),
        ({"blank_skip": 0.0}, "blank_skip must be a probability"),
        ({"blank_skip": 1.5}, "blank_skip must be a probability"),
        ({"lm_weight": -0.5}, "lm_weight must be a number, not negative"),
        ({"lm_weight": math.inf}, "lm_weight must be a number"),
        ({"word_score": math.nan}, "word_score must be a number"),
        ({"separator": -2}, "separator must be a token"),
        ({"separator": 0}, "the separator must not be the blank"),
        ({"unit": "letter"}, "unit is 'letter', it must be 'word' or 'token'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        BeamDecoder(BeamOptions(**options))
