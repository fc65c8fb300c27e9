"""The separator may be wanted although many tokens are more likely: it alone adds to a score."""

import itertools

import pytest

from beam_cases import decode, log_probs, texts
from mms_kernels import reference_beam as oracle

SEPARATOR, WORD_SCORE = 39, 6.0


def closed_words(tokens):
    """What a prefix gains: a word where letters come before a separator."""
    pairs = itertools.pairwise(tokens)
    return WORD_SCORE * sum(first != SEPARATOR == second for first, second in pairs)


@pytest.mark.parametrize("beam_size", [1, 2, 3])
def test_the_separator_is_tried_however_many_tokens_are_more_likely(beam_size):
    tried = 0
    for seed in range(40):
        scores = log_probs(8, 40, seed=seed, spread=1.0)
        options = {"beam_size": beam_size, "word_score": WORD_SCORE, "separator": SEPARATOR}
        found = texts(decode(scores, **options))
        wanted = oracle.beam_search(scores, oracle.Rules(beam_size), closed_words)
        assert sorted(found) == sorted(wanted)
        better = (scores > scores[:, [SEPARATOR]]).sum(axis=1)
        tried += bool((better > 2 * beam_size + 3).any()) and SEPARATOR in found[0]
    assert tried > 10, "the case that is meant has come up"
