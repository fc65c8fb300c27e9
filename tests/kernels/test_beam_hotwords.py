"""Hotwords of a stream, and many of them: the search with its shortcuts against the one without."""

import functools

import numpy as np
import pytest

import lm_models
from beam_cases import assert_same, close, log_probs, sharp, texts
from mms_kernels import BeamDecoder, BeamOptions
from mms_kernels import reference_beam as oracle
from mms_kernels.arpa import convert_arpa
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import NgramModel

TOKENS = ["<pad>", "a", "b", "|", "c"]
WIDE = ["<pad>", "|", *"abcdefghijklmnopqrstuvwxyz"]
BEAM = BeamOptions(beam_size=20, separator=3)
NAMES = Hotwords({"ab": 4.0, "ca": 2.0}, TOKENS, separator="|", excluded=[0])
OTHERS = Hotwords({"ba": 3.0, "b c": 5.0}, TOKENS, separator="|", excluded=[0])
NOTHING = Hotwords([], TOKENS, separator="|", excluded=[0])


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    path = tmp_path_factory.mktemp("letters")
    text = lm_models.random_text(["a", "b", "|", "c"], 200, 1)
    (path / "lm.arpa").write_text(lm_models.arpa(lm_models.estimate(text, 3)))
    convert_arpa(path / "lm.arpa", path / "lm.bin")
    return NgramModel.open(path / "lm.bin")


def said(decoder, scores, **options):
    stream = decoder.stream(kind="log_probs", **options)
    stream.step(scores)
    return stream.finish(nbest=100)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("unit", ["word", "token"])
def test_a_stream_with_its_own_is_a_decoder_with_them(letters, unit, seed):
    scores = log_probs(30, 5, seed, 1.5)
    options = BeamOptions(beam_size=20, separator=3, unit=unit, lm_weight=0.5, word_score=1.0)
    models = {"lm": letters, "tokens": TOKENS}
    decoder = BeamDecoder(options, hotwords=NAMES, **models)
    for hotwords in (NAMES, OTHERS, NOTHING):
        wanted = said(BeamDecoder(options, hotwords=hotwords, **models), scores)
        assert_same(said(decoder, scores, hotwords=hotwords), wanted)
        assert_same(said(BeamDecoder(options, **models), scores, hotwords=hotwords), wanted)
    assert said(decoder, scores, hotwords=OTHERS)[0].score != said(decoder, scores)[0].score


def test_without_its_own_a_stream_has_those_of_the_decoder():
    scores = log_probs(30, 5, 1, 1.5)
    wanted = said(BeamDecoder(BEAM, hotwords=NAMES), scores)
    assert_same(said(BeamDecoder(BEAM, hotwords=NAMES), scores, hotwords=None), wanted)
    assert wanted[0].bonus != 0.0


def test_none_at_all_is_the_search_without():
    scores = log_probs(30, 5, 2, 1.5)
    decoder = BeamDecoder(BEAM, hotwords=NAMES)
    assert_same(said(decoder, scores, hotwords=NOTHING), said(BeamDecoder(BEAM), scores))


def test_copies_and_new_utterances_keep_them():
    scores = log_probs(30, 5, 3, 1.5)
    wanted = said(BeamDecoder(BEAM, hotwords=OTHERS), scores)
    stream = BeamDecoder(BEAM, hotwords=NAMES).stream(kind="log_probs", hotwords=OTHERS)
    stream.step(scores[:11])
    twin = stream.copy()
    for one in (stream, twin):
        one.step(scores[11:])
        assert_same(one.finish(nbest=100), wanted)
        one.step(scores)
        assert_same(one.finish(nbest=100), wanted)


def test_streams_of_one_decoder_do_not_see_each_other():
    scores = log_probs(30, 5, 4, 1.5)
    decoder = BeamDecoder(BEAM)
    streams = [
        decoder.stream(kind="log_probs", hotwords=hotwords) for hotwords in (NAMES, OTHERS, None)
    ]
    for row in scores:
        for stream in streams:
            stream.step(row[None])
    found = [stream.finish(nbest=100) for stream in streams]
    assert_same(found[0], said(BeamDecoder(BEAM, hotwords=NAMES), scores))
    assert_same(found[1], said(BeamDecoder(BEAM, hotwords=OTHERS), scores))
    assert_same(found[2], said(BeamDecoder(BEAM), scores))


def test_phrases_over_other_tokens_are_refused():
    stream = BeamDecoder(BEAM).stream(hotwords=Hotwords(["ab"], WIDE, separator="|"))
    with pytest.raises(ValueError, match="the hotwords were made for 28 tokens, the logits have 5"):
        stream.step(log_probs(3, 5))


def many(*, separator):
    """Phrases of which few tokens lead on, and some that take from a hypothesis."""
    random = np.random.default_rng(5)
    words = ["".join(random.choice(list("abcdefgh"), random.integers(1, 7))) for _ in range(300)]
    phrases = {word: float(random.normal(2.0, 3.0)) for word in words}
    return Hotwords(phrases, WIDE, separator=separator, excluded=[0])


def gain_of(hotwords):
    automaton = hotwords.automaton

    @functools.cache
    def walk(prefix):
        if not prefix:
            return automaton.start, 0.0
        state, total = walk(prefix[:-1])
        state, bonus = automaton.step(state, prefix[-1])
        return state, total + bonus

    return lambda prefix: walk(prefix)[1]


@pytest.mark.parametrize("separator", [None, "|"])
@pytest.mark.parametrize("scores", [log_probs(40, 28, 7, 1.5), sharp(60, 28, seed=7)])
def test_no_token_that_may_win_is_passed_over(scores, separator):
    """Hundreds of phrases, a beam that is too small for them: the rules written out, frame by
    frame, keep the same hypotheses."""
    hotwords = many(separator=separator)
    stream = BeamDecoder(BeamOptions(beam_size=12), hotwords=hotwords).stream(kind="log_probs")
    stream.step(scores)
    found = stream.partial(nbest=100).hypotheses
    wanted = oracle.beam_search(scores, oracle.Rules(12), gain_of(hotwords))
    assert texts(found) == list(wanted)
    for one in found:
        assert close(one.log_prob, wanted[tuple(one.tokens.tolist())].total)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("beam_size", [3, 50])
@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_a_vocabulary_of_a_page_is_searched_as_a_larger_one(beam_size, sharpness, seed):
    """Tokens that are impossible make the vocabulary so large that bits of tokens do not do."""
    random = np.random.default_rng(seed)
    drawn = ["".join(random.choice(list("abcdef "), random.integers(1, 9))) for _ in range(40)]
    weights = random.uniform(-3, 4, len(drawn)).tolist()
    phrases = {
        phrase: weight for phrase, weight in zip(drawn, weights, strict=True) if phrase.strip()
    }
    small = log_probs(40, len(WIDE), seed, sharpness)
    large = np.full((40, 70), -np.inf, np.float32)
    large[:, : len(WIDE)] = small
    options = BeamOptions(beam_size=beam_size, separator=1, word_score=0.5 * (seed % 2))
    more = [*WIDE, *(f"<{number}>" for number in range(70 - len(WIDE)))]
    excluded = [0, *range(len(WIDE), 70)]
    by_bits = Hotwords(phrases, WIDE, separator="|", excluded=[0])
    without = Hotwords(phrases, more, separator="|", excluded=excluded)
    wanted = said(BeamDecoder(options, hotwords=without), large)
    assert_same(said(BeamDecoder(options, hotwords=by_bits), small), wanted)
