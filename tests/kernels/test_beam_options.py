"""Options of the prefix beam: what each leaves out, ties, and bad values."""

import math

import numpy as np
import pytest

from beam_cases import assert_same, close, decode, for_every_isa, log_probs, sharp, texts
from mms_kernels import BeamDecoder, BeamOptions, Lexicon
from mms_kernels import reference_beam as oracle

# Ties


def test_ties_go_to_the_rank_of_the_parent_then_to_the_lower_token():
    """One frame, all equal: nothing said stays before what is new; then by id."""
    scores = np.full((1, 6), -1.0, np.float32)
    for blank in (0, 3, 5):
        others = [(token,) for token in range(6) if token != blank]
        assert texts(decode(scores, blank=blank)) == [(), *others]
        assert texts(decode(scores, blank=blank, beam_size=3)) == [(), *others[:2]]


def test_ties_between_parents_go_to_the_better_ranked():
    """After 'a' before 'b' all extensions by c are equal; the blank is impossible."""
    scores = np.array([[-9, -1, -1, -9], [-np.inf, -np.inf, -np.inf, -1]], np.float32)
    assert texts(decode(scores, beam_size=2)) == [(1, 3), (2, 3)]


@pytest.mark.parametrize("beam_size", [1, 2, 5, 17])
def test_integers_give_the_same_order_everywhere(beam_size):
    generator = np.random.default_rng(beam_size)
    for _ in range(40):
        frames, vocab = generator.integers(1, 12), generator.integers(2, 9)
        scores = -generator.integers(0, 4, (frames, vocab)).astype(np.float32)
        found = for_every_isa(lambda: decode(scores, beam_size=beam_size))  # noqa: B023
        stream = BeamDecoder(BeamOptions(beam_size=beam_size)).stream(kind="log_probs")
        for row in scores:
            stream.step(row[None])
        found.append(stream.finish(nbest=100))
        batch = np.stack([scores * 0, scores, scores])
        decoder = BeamDecoder(BeamOptions(beam_size=beam_size))
        lengths = np.full(3, frames)
        rows = decoder.decode(batch, lengths, kind="log_probs", nbest=100, threads=3)
        for other in [*found[1:], *rows[1:]]:
            assert_same(found[0], other)


def test_zeros_of_either_sign_are_equal():
    scores = np.array([[-1.0, -0.0, 0.0]], np.float32)
    assert texts(decode(scores)) == [(1,), (2,), ()]


# Cuts


def test_token_cut_spares_the_blank_and_last_labels():
    scores = np.log(
        np.array([[0.05, 0.9, 0.05], [0.04, 0.04, 0.92], [0.04, 0.92, 0.04]], np.float32)
    )
    found = decode(scores, token_min_logp=-2.0)
    # Only 1, then 2, then 1 may be new; each prefix still stays by the unlikely blank and label.
    assert texts(found)[0] == (1, 2, 1)
    assert sorted(texts(found)) == [(), (1,), (1, 1), (1, 2), (1, 2, 1), (2,), (2, 1)]
    wanted = oracle.beam_search(scores, oracle.Rules(50, token_min_logp=-2.0))
    assert texts(found) == list(wanted)


def test_token_cut_loses_little_where_posteriors_are_sharp():
    scores = sharp(1000, 32, seed=1)
    exact = decode(scores, beam_size=50, nbest=1)[0]
    cut = decode(scores, beam_size=50, nbest=1, token_min_logp=-5.0)[0]
    assert cut.tokens.tolist() == exact.tokens.tolist()
    assert exact.log_prob - 0.3 < cut.log_prob < exact.log_prob


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


# Bad values


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


@pytest.mark.parametrize("words", [[], [[]], [[1], []], [[1, -1]]])
def test_bad_lexicon(words):
    with pytest.raises(ValueError, match="lexicon"):
        Lexicon(words)


def test_models_that_do_not_fit():
    with pytest.raises(ValueError, match="a lexicon needs the separator"):
        BeamDecoder(lexicon=Lexicon([[1]]))
    scores = log_probs(3, 4)
    for models, separator, message in [
        ({"lexicon": Lexicon([[1, 9]])}, 2, "the lexicon has the token 9"),
        ({"tokens": ["a"] * 5}, 2, "there are names for 5 tokens, the logits have 4"),
        ({}, 4, "separator is 4, the logits have only 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            decode(scores, models=models, separator=separator)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "holds NaN"), (np.inf, r"holds \+inf"), (-np.inf, "is -inf for every token")],
)
@pytest.mark.parametrize("kind", ["logits", "log_probs"])
def test_bad_frames(value, message, kind):
    scores = log_probs(10, 6)[None].repeat(3, axis=0)
    scores[1, 4] = value
    lengths = np.array([10, 10, 10])
    with pytest.raises(ValueError, match=f"row 1: frame 4 of the logits {message}"):
        BeamDecoder().decode(scores, lengths, kind=kind)
    lengths[1] = 4
    assert len(BeamDecoder().decode(scores, lengths, kind=kind)) == 3


def test_bad_calls():
    scores = log_probs(3, 4)[None]
    one = np.array([3])
    decoder = BeamDecoder()
    with pytest.raises(ValueError, match="nbest must be at least 1"):
        decoder.decode(scores, one, nbest=0)
    with pytest.raises(ValueError, match="threads is 0"):
        decoder.decode(scores, one, threads=0)
    with pytest.raises(ValueError, match="kind is 'probs'"):
        decoder.decode(scores, one, kind="probs")
    with pytest.raises(ValueError, match="row 0: length is 4"):
        decoder.decode(scores, np.array([4]))
    with pytest.raises(ValueError, match="logits has 1 rows, lengths has 2"):
        decoder.decode(scores, np.array([3, 3]))
    with pytest.raises(TypeError, match="float64"):
        decoder.decode(scores.astype(np.float64), one)
    with pytest.raises(ValueError, match="blank is 9"):
        BeamDecoder(BeamOptions(blank=9)).decode(scores, one)
    with pytest.raises(ValueError, match="C-contiguous"):
        decoder.stream().step(scores[0].T)
