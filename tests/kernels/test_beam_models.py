"""Language models and hotwords in the beam, against gains computed from scratch."""

import functools
import itertools
import math

import numpy as np
import pytest

import lm_models
from ctc_cases import assert_same, close, decode, log_probs, sharp, texts
from mms_kernels import BeamDecoder, BeamOptions
from mms_kernels.cuda.models import BeamModels
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import NgramModel
from mms_kernels.reference import beam as oracle

TOKENS = ["<pad>", "a", "b", "|", "c", "é", "ch"]
SEPARATOR = 3
WORDS = ["a", "b", "ab", "ba", "aab", "abc", "ca", "c", "é", "chab", "chéa"]
WIDE = ["<pad>", "|", *"abcdefghijklmnopqrstuvwxyz"]
PHRASES = {"ab": 3.0, "aab": 1.5, "b": 0.5, "ca": 6.0, "cc": -2.0, "é": -1.0}


def make_model(units, path, order=3, seed=0):
    """The tables, for the slow oracle, and the model."""
    tables = lm_models.estimate(lm_models.random_text(units, 200, seed), order)
    (path / "lm.arpa").write_text(lm_models.arpa(tables), encoding="utf-8")
    lm_models.convert(path / "lm.arpa", path / "lm.bin")
    return tables, NgramModel.open(path / "lm.bin")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return make_model(WORDS, tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return make_model(TOKENS[1:], tmp_path_factory.mktemp("letters"), 4, 1)


def split(prefix):
    """Complete words of a prefix, and its open one."""
    parts = "".join(TOKENS[token] for token in prefix).split("|")
    return [part for part in parts[:-1] if part], parts[-1]


def word_gain(tables, weight, word_score):
    def gain(prefix, end=False):
        said, rest = split(prefix)
        said += [rest] if end and rest else []
        score = lm_models.slow_score(tables, said, eos=end) if tables else 0.0
        return weight * score + word_score * len(said)

    return gain


def letter_gain(tables, weight, word_score):
    def gain(prefix, end=False):
        said = [TOKENS[token] for token in prefix]
        return weight * lm_models.slow_score(tables, said, eos=end) + word_score * len(said)

    return gain


def hot_gain(hotwords):
    automaton = hotwords.automaton

    @functools.cache
    def walk(prefix):
        if not prefix:
            return automaton.start, 0.0
        state, total = walk(prefix[:-1])
        state, bonus = automaton.step(state, prefix[-1])
        return state, total + bonus

    def gain(prefix, end=False):
        return hotwords.score(np.array(prefix, np.int32)) if end else walk(prefix)[1]

    return gain


def check(ctc, scores, gains, beam_size, models, **options):
    """Partial and final results are those of the reference with the gains."""
    stream = ctc.stream(beam_size=beam_size, models=models, **options)
    for start in range(0, len(scores), 9):
        stream.step(scores[start : start + 9])
    wanted = oracle.beam_search(
        scores, oracle.Rules(beam_size), lambda prefix: sum(gain(prefix) for gain in gains)
    )
    partial = stream.partial(nbest=100_000).hypotheses
    assert texts(partial) == list(wanted)
    for one in partial:
        prefix = tuple(one.tokens.tolist())
        assert close(one.log_prob, wanted[prefix].total, ctc.beam_tolerance)
        assert close(one.score, wanted[prefix].total + sum(gain(prefix) for gain in gains), 1e-5)
    final = {
        prefix: state.total + sum(gain(prefix, end=True) for gain in gains)
        for prefix, state in wanted.items()
    }
    final = {prefix: score for prefix, score in final.items() if score > -math.inf}
    found = stream.finish(nbest=100_000)
    assert sorted(texts(found)) == sorted(final)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(close(one.score, final[tuple(one.tokens.tolist())], 1e-5) for one in found)
    return found


def cases(ctc, count, frames=25, vocab=7, spread=1.5):
    for seed in range(2 if ctc.is_cuda else count):
        yield log_probs(frames, vocab, seed, spread)


@pytest.mark.parametrize("beam_size", [1, 4, 30])
@pytest.mark.parametrize(("weight", "word_score"), [(1.0, 0.0), (2.5, 1.5), (0.7, -2.0)])
def test_word_model(ctc, words, beam_size, weight, word_score):
    tables, model = words
    options = {"lm_weight": weight, "word_score": word_score, "separator": SEPARATOR}
    for scores in cases(ctc, 3):
        gain = word_gain(tables, weight, word_score)
        found = check(ctc, scores, [gain], beam_size, {"lm": model, "tokens": TOKENS}, **options)
        for one in found:
            said, rest = split(one.tokens.tolist())
            said += [rest] if rest else []
            assert one.lm_score == pytest.approx(lm_models.slow_score(tables, said), abs=1e-4)


def test_words_are_counted_without_a_model(ctc):
    for scores in cases(ctc, 3):
        check(ctc, scores, [word_gain(None, 0, 2.0)], 10, {}, word_score=2.0, separator=SEPARATOR)


@pytest.mark.parametrize("beam_size", [1, 4, 30])
@pytest.mark.parametrize(("weight", "word_score"), [(1.0, 0.0), (3.0, 2.0), (0.5, -1.0)])
def test_token_model(ctc, letters, beam_size, weight, word_score):
    tables, model = letters
    options = {"lm_weight": weight, "word_score": word_score, "unit": "token"}
    for scores in cases(ctc, 3):
        gain = letter_gain(tables, weight, word_score)
        check(ctc, scores, [gain], beam_size, {"lm": model, "tokens": TOKENS}, **options)


@pytest.mark.parametrize("beam_size", [1, 4, 30])
@pytest.mark.parametrize("separator", [None, "|"])
def test_hotwords(ctc, beam_size, separator):
    phrases = PHRASES if separator is None else {**PHRASES, "a b": 4.0}
    hotwords = Hotwords(phrases, TOKENS, separator=separator, excluded=[0])
    for scores in cases(ctc, 3):
        found = check(ctc, scores, [hot_gain(hotwords)], beam_size, {"hotwords": hotwords})
        for one in found:
            assert one.bonus == pytest.approx(hotwords.score(one.tokens), abs=1e-4)


def test_all_models_together(ctc, words):
    tables, model = words
    hotwords = Hotwords({"ab": 4.0, "ca": 2.0}, TOKENS, separator="|", excluded=[0])
    models = {"lm": model, "tokens": TOKENS, "hotwords": hotwords}
    gains = [word_gain(tables, 1.2, 0.7), hot_gain(hotwords)]
    for scores in cases(ctc, 4):
        check(ctc, scores, gains, 12, models, lm_weight=1.2, word_score=0.7, separator=SEPARATOR)


def test_hotword_far_from_the_most_likely_tokens(ctc):
    letters = [chr(0x4E00 + token) for token in range(60)]
    hotwords = Hotwords({letters[57]: 9.0, letters[3] + letters[58]: 12.0}, letters, separator=None)
    for scores in cases(ctc, 5, 8, 60, 1.0):
        check(ctc, scores, [hot_gain(hotwords)], 4, {"hotwords": hotwords})


@pytest.mark.parametrize("separator", [None, "|"])
@pytest.mark.parametrize("scores", [log_probs(40, 28, 7, 1.5), sharp(60, 28, seed=7)])
def test_many_hotwords_in_a_small_beam(ctc, scores, separator):
    """Hundreds of phrases, of positive and negative weight."""
    random = np.random.default_rng(5)
    drawn = ["".join(random.choice(list("abcdefgh"), random.integers(1, 7))) for _ in range(300)]
    phrases = {word: float(random.normal(2.0, 3.0)) for word in drawn}
    hotwords = Hotwords(phrases, WIDE, separator=separator, excluded=[0])
    check(ctc, scores, [hot_gain(hotwords)], 12, {"hotwords": hotwords})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beam_size", [3, 50])
def test_hotwords_of_vocabularies_of_one_and_of_several_pages_agree(beam_size, seed):
    """Impossible tokens make the vocabulary larger than a page of 64 transitions."""
    random = np.random.default_rng(seed)
    drawn = ["".join(random.choice(list("abcdef "), random.integers(1, 9))) for _ in range(40)]
    phrases = {phrase: random.uniform(-3, 4) for phrase in drawn if phrase.strip()}
    small = log_probs(40, len(WIDE), seed, 0.5 + seed)
    large = np.full((40, 70), -np.inf, np.float32)
    large[:, : len(WIDE)] = small
    options = {"beam_size": beam_size, "separator": 1, "word_score": 0.5 * (seed % 2)}
    more = [*WIDE, *(f"<{number}>" for number in range(70 - len(WIDE)))]
    excluded = [0, *range(len(WIDE), 70)]
    one_page = Hotwords(phrases, WIDE, separator="|", excluded=[0])
    several = Hotwords(phrases, more, separator="|", excluded=excluded)
    wanted = decode(large, models={"hotwords": several}, **options)
    assert_same(decode(small, models={"hotwords": one_page}, **options), wanted)


@pytest.mark.parametrize("beam_size", [1, 2, 3])
def test_separator_is_tried_beyond_the_most_likely_tokens(ctc, beam_size):
    """It alone completes words, which adds to a score."""
    separator, word_score, tried = 39, 6.0, 0

    def closed_words(tokens):
        pairs = itertools.pairwise(tokens)
        return word_score * sum(first != separator == second for first, second in pairs)

    for scores in cases(ctc, 40, 8, 40, 1.0):
        stream = ctc.stream(beam_size=beam_size, word_score=word_score, separator=separator)
        stream.step(scores)
        found = texts(stream.partial(nbest=100).hypotheses)
        wanted = oracle.beam_search(scores, oracle.Rules(beam_size), closed_words)
        assert sorted(found) == sorted(wanted)
        better = (scores > scores[:, [separator]]).sum(axis=1)
        tried += bool((better > 2 * beam_size + 3).any()) and separator in found[0]
    assert tried > (0 if ctc.is_cuda else 10)


def test_unfinished_phrase_is_taken_back_at_the_end(ctc):
    hotwords = Hotwords({"abab": 4.0}, TOKENS, separator=None, excluded=[0])
    scores = np.full((3, len(TOKENS)), -20.0, np.float32)
    scores[[0, 1, 2], [1, 2, 1]] = 0
    stream = ctc.stream(beam_size=8, models={"hotwords": hotwords})
    stream.step(scores)
    (open_best,) = stream.partial().hypotheses
    (whole_best,) = stream.finish()
    assert texts([open_best, whole_best]) == [(1, 2, 1)] * 2
    assert (open_best.bonus, whole_best.bonus) == (3, 0)


def test_models_without_weight_change_nothing(ctc, words):
    scores = log_probs(40, len(TOKENS))
    plain = ctc.beam(scores[None], [40], beam_size=20)
    models = {"lm": words[1], "tokens": TOKENS}
    options = {"beam_size": 20, "separator": SEPARATOR}
    assert_same(ctc.beam(scores[None], [40], models=models, **options), plain)
    nothing = Hotwords({"ab": 0.0}, TOKENS, separator="|", excluded=[0])
    assert_same(ctc.beam(scores[None], [40], models={"hotwords": nothing}, beam_size=20), plain)


@pytest.mark.parametrize("kind", ["words", "tokens"])
def test_chunks_and_settled_tokens_change_no_bit(ctc, words, letters, kind):
    """A word's text and history survive when its first letters are settled."""
    frames = 600 if ctc.is_cuda else 2000
    scores = sharp(frames, len(TOKENS), seed=6)
    options = {"beam_size": 6, "lm_weight": 1.0, "word_score": 0.5, "lookback": 64}
    options |= {"separator": SEPARATOR} if kind == "words" else {"unit": "token"}
    tables, lm = words if kind == "words" else letters
    options["models"] = {"lm": lm, "tokens": TOKENS}
    if kind == "words":
        options["models"]["hotwords"] = Hotwords(PHRASES, TOKENS, excluded=[0])
    stream = ctc.stream(**options)
    for start in range(0, frames, 13):
        stream.step(scores[start : start + 13])
    (wanted,) = ctc.beam(scores[None], [frames], **options)
    found = stream.finish(nbest=6)
    assert_same(found, wanted)
    said, last = split(found[0].tokens.tolist())
    said += [last] if last else []
    said = said if kind == "words" else [TOKENS[token] for token in found[0].tokens]
    assert found[0].lm_score == pytest.approx(lm_models.slow_score(tables, said), abs=1e-2)
    (other,) = BeamDecoder(
        BeamOptions(**{name: value for name, value in options.items() if name != "models"}),
        **options["models"],
    ).decode(scores[None], np.array([frames]), kind="log_probs", nbest=1)
    assert texts(found[:1]) == texts(other)


# Hotwords of a stream

BEAM = BeamOptions(beam_size=20, separator=SEPARATOR)
NAMES = Hotwords({"ab": 4.0, "ca": 2.0}, TOKENS, separator="|", excluded=[0])
OTHERS = Hotwords({"ba": 3.0, "b c": 5.0}, TOKENS, separator="|", excluded=[0])
NOTHING = Hotwords([], TOKENS, separator="|", excluded=[0])


def said(decoder, scores, **options):
    stream = decoder.stream(kind="log_probs", **options)
    stream.step(scores)
    return stream.finish(nbest=100)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unit", ["word", "token"])
def test_stream_with_hotwords_equals_a_decoder_with_them(letters, unit, seed):
    scores = log_probs(30, len(TOKENS), seed, 1.5)
    options = BeamOptions(beam_size=20, separator=3, unit=unit, lm_weight=0.5, word_score=1.0)
    models = {"lm": letters[1], "tokens": TOKENS}
    decoder = BeamDecoder(options, hotwords=NAMES, **models)
    for hotwords in (NAMES, OTHERS, NOTHING):
        wanted = said(BeamDecoder(options, hotwords=hotwords, **models), scores)
        assert_same(said(decoder, scores, hotwords=hotwords), wanted)
        assert_same(said(BeamDecoder(options, **models), scores, hotwords=hotwords), wanted)
    assert said(decoder, scores, hotwords=OTHERS)[0].score != said(decoder, scores)[0].score


def test_hotwords_of_streams_are_independent_and_kept():
    scores = log_probs(30, len(TOKENS), 4, 1.5)
    decoder = BeamDecoder(BEAM, hotwords=NAMES)
    choices = {NAMES: NAMES, OTHERS: OTHERS, NOTHING: None, None: NAMES}
    streams = [decoder.stream(kind="log_probs", hotwords=hotwords) for hotwords in choices]
    for row in scores[:11]:
        for stream in streams:
            stream.step(row[None])
    for stream, own in zip(streams, choices.values(), strict=True):
        wanted = said(BeamDecoder(BEAM, hotwords=own), scores)
        for one in (stream.copy(), stream):
            one.step(scores[11:])
            assert_same(one.finish(nbest=100), wanted)
            one.step(scores)
            assert_same(one.finish(nbest=100), wanted)


def test_threads_share_the_models(words):
    options = BeamOptions(beam_size=20, lm_weight=1.0, separator=SEPARATOR)
    decoder = BeamDecoder(options, lm=words[1], hotwords=NAMES, tokens=TOKENS)
    scores = np.stack([log_probs(60, len(TOKENS), seed, 1.5) for seed in range(32)])
    lengths = np.arange(29, 61)
    one, four = (
        decoder.decode(scores, lengths, kind="log_probs", threads=threads, nbest=5)
        for threads in (1, 4)
    )
    assert_same(one, four)


def test_models_that_do_not_fit(words):
    with pytest.raises(ValueError, match="a language model of words needs the separator"):
        BeamDecoder(BeamOptions(lm_weight=1.0), lm=words[1], tokens=TOKENS)
    with pytest.raises(ValueError, match="a language model needs the tokens"):
        BeamDecoder(BeamOptions(lm_weight=1.0, separator=3), lm=words[1])
    for models, separator, message in [
        ({"hotwords": NAMES}, None, "the hotwords were made for 7 tokens, the logits have 4"),
        ({"tokens": ["a"] * 5}, 2, "there are names for 5 tokens, the logits have 4"),
        ({}, 4, "separator is 4, the logits have only 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            decode(log_probs(3, 4), models=models, separator=separator)
    stream = BeamDecoder(BEAM).stream(hotwords=Hotwords(["ab"], WIDE, separator="|"))
    with pytest.raises(ValueError, match="the hotwords were made for 28 tokens, the logits have 7"):
        stream.step(log_probs(3, 7))
    with pytest.raises(ValueError, match="made for 7 tokens, not 3"):
        BeamModels(["a", "b", "c"], hotwords=NAMES)
    with pytest.raises(ValueError, match="needs the separator"):
        BeamModels(TOKENS, lm=words[1], lm_weight=1.0)
