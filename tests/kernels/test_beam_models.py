"""Language model, hotwords and lexicon in the beam, against gains computed from scratch."""

import math

import numpy as np
import pytest

import lm_models
from beam_cases import assert_same, close, decode, log_probs, sharp, texts
from mms_kernels import BeamDecoder, BeamOptions, Lexicon
from mms_kernels import reference_beam as oracle
from mms_kernels.arpa import convert_arpa
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import NgramModel

TOKENS = ["<pad>", "a", "b", "|", "c"]
SEPARATOR = 3
WORDS = ["a", "b", "ab", "ba", "aab", "abc", "ca", "c"]
EVERY = 1100


def make_model(units, path, order=3, seed=0):
    """The tables, for the slow oracle, and the model."""
    text = lm_models.random_text(units, 200, seed)
    tables = lm_models.estimate(text, order)
    (path / "lm.arpa").write_text(lm_models.arpa(tables))
    convert_arpa(path / "lm.arpa", path / "lm.bin")
    return tables, NgramModel.open(path / "lm.bin")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return make_model(WORDS, tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return make_model(["a", "b", "|", "c"], tmp_path_factory.mktemp("letters"), 4, 1)


def split(prefix):
    """Whole words of a prefix, and whether its last one is open."""
    text = "".join(TOKENS[token] for token in prefix)
    parts = text.split("|")
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
    def gain(prefix, end=False):
        if end:
            return hotwords.score(np.array(prefix, np.int32))
        automaton, total = hotwords.automaton, 0.0
        state = automaton.start
        for token in prefix:
            state, bonus = automaton.step(state, token)
            total += bonus
        return total

    return gain


def lexicon_gain(words):
    def gain(prefix, end=False):
        parts = "".join(TOKENS[token] for token in prefix).split("|")
        whole = all(part in words for part in parts[:-1])
        last = parts[-1] in words or (parts[-1] == "" and len(parts) > 1) or not prefix
        begun = any(word.startswith(parts[-1]) for word in words)
        return 0.0 if whole and (last if end else begun) else -math.inf

    return gain


def check(scores, gains, beam_size, models, **options):
    """Partial and final results are those of the reference, with the gains as oracle."""
    options = BeamOptions(beam_size=beam_size, **options)
    stream = BeamDecoder(options, **models).stream(kind="log_probs")
    for row in scores:
        stream.step(row[None])
    wanted = oracle.beam_search(
        scores, oracle.Rules(beam_size), lambda prefix: sum(gain(prefix) for gain in gains)
    )
    partial = stream.partial(nbest=100_000).hypotheses
    assert texts(partial) == list(wanted)
    for one in partial:
        prefix = tuple(one.tokens.tolist())
        assert close(one.log_prob, wanted[prefix].total)
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


@pytest.mark.parametrize("beam_size", [1, 4, 30])
@pytest.mark.parametrize(("weight", "word_score"), [(1.0, 0.0), (2.5, 1.5), (0.7, -2.0)])
def test_word_model(words, beam_size, weight, word_score):
    tables, model = words
    options = {"lm_weight": weight, "word_score": word_score, "separator": SEPARATOR}
    for seed in range(6):
        scores = log_probs(25, 5, seed, 1.5)
        gain = word_gain(tables, weight, word_score)
        found = check(scores, [gain], beam_size, {"lm": model, "tokens": TOKENS}, **options)
        for one in found:
            said, rest = split(one.tokens.tolist())
            said += [rest] if rest else []
            assert one.lm_score == pytest.approx(lm_models.slow_score(tables, said), abs=1e-4)


def test_words_are_counted_without_a_model():
    for seed in range(5):
        scores = log_probs(20, 5, seed, 1.0)
        check(scores, [word_gain(None, 0, 2.0)], 10, {}, word_score=2.0, separator=SEPARATOR)


@pytest.mark.parametrize("beam_size", [1, 4, 30])
@pytest.mark.parametrize(("weight", "word_score"), [(1.0, 0.0), (3.0, 2.0), (0.5, -1.0)])
def test_token_model(letters, beam_size, weight, word_score):
    tables, model = letters
    options = {"lm_weight": weight, "word_score": word_score, "unit": "token"}
    for seed in range(6):
        scores = log_probs(25, 5, seed, 1.5)
        gain = letter_gain(tables, weight, word_score)
        check(scores, [gain], beam_size, {"lm": model, "tokens": TOKENS}, **options)


@pytest.mark.parametrize("beam_size", [1, 4, 30])
@pytest.mark.parametrize("separator", [None, "|"])
def test_hotwords(beam_size, separator):
    phrases = {"ab": 3.0, "aab": 1.5, "b": 0.5, "ca": 6.0, "cc": -2.0}
    phrases = phrases if separator is None else {**phrases, "a b": 4.0}
    hotwords = Hotwords(phrases, TOKENS, separator=separator, excluded=[0])
    for seed in range(8):
        scores = log_probs(25, 5, seed, 1.5)
        found = check(scores, [hot_gain(hotwords)], beam_size, {"hotwords": hotwords})
        for one in found:
            assert one.bonus == pytest.approx(hotwords.score(one.tokens), abs=1e-4)


@pytest.mark.parametrize("beam_size", [1, 4, 30])
def test_lexicon(beam_size):
    entries = ["ab", "abc", "b", "cc"]
    lexicon = Lexicon([[TOKENS.index(letter) for letter in word] for word in entries])
    assert [1, 2] in lexicon
    assert [1] not in lexicon
    for seed in range(8):
        scores = log_probs(25, 5, seed, 1.5)
        models = {"lexicon": lexicon}
        found = check(scores, [lexicon_gain(entries)], beam_size, models, separator=SEPARATOR)
        for one in found:
            said, rest = split(one.tokens.tolist())
            assert {*said, rest} <= {*entries, ""}


def test_lexicon_that_allows_nothing_gives_nothing():
    scores = np.full((4, 5), -np.inf, np.float32)
    scores[:, 4] = 0.0
    found = decode(scores, models={"lexicon": Lexicon([[1]])}, separator=SEPARATOR)
    assert found == []
    stream = BeamDecoder(BeamOptions(separator=SEPARATOR), lexicon=Lexicon([[1]])).stream()
    stream.step(scores)
    assert stream.partial().hypotheses == []
    assert len(stream.take_stable()) == 0


def test_everything_at_once(words):
    tables, model = words
    hotwords = Hotwords({"ab": 4.0, "ca": 2.0}, TOKENS, separator="|", excluded=[0])
    lexicon = Lexicon([[TOKENS.index(letter) for letter in word] for word in WORDS])
    models = {"lm": model, "tokens": TOKENS, "hotwords": hotwords, "lexicon": lexicon}
    gains = [word_gain(tables, 1.2, 0.7), hot_gain(hotwords), lexicon_gain(WORDS)]
    for seed in range(10):
        scores = log_probs(25, 5, seed, 1.5)
        check(scores, gains, 12, models, lm_weight=1.2, word_score=0.7, separator=SEPARATOR)


@pytest.mark.parametrize("vocab", [60])
def test_gains_beyond_the_most_likely_tokens(vocab):
    """With hotwords a token may win that is far from the most likely."""
    tokens = [str(token) for token in range(vocab)]
    letters = [chr(0x4E00 + token) for token in range(vocab)]
    hotwords = Hotwords({letters[57]: 9.0, letters[3] + letters[58]: 12.0}, letters, separator=None)
    assert len(tokens) == vocab
    for seed in range(5):
        scores = log_probs(8, vocab, seed, 1.0)
        check(scores, [hot_gain(hotwords)], 4, {"hotwords": hotwords})


def test_weight_zero_is_no_model(words):
    scores = log_probs(40, 5)
    with_model = decode(scores, models={"lm": words[1], "tokens": TOKENS}, separator=SEPARATOR)
    assert_same(with_model, decode(scores, separator=SEPARATOR))


def test_no_hotword_changes_nothing():
    scores = log_probs(40, 5)
    nothing = Hotwords({"ab": 0.0}, TOKENS, separator="|", excluded=[0])
    assert_same(
        decode(scores, models={"hotwords": nothing}, beam_size=9), decode(scores, beam_size=9)
    )


def test_words_reach_back_over_what_was_taken(words):
    """The text of the word being said, and its history, survive the trees' roots moving on."""
    model = words[1]
    options = BeamOptions(
        beam_size=6, lm_weight=1.0, word_score=0.5, separator=SEPARATOR, lookback=64
    )
    decoder = BeamDecoder(options, lm=model, tokens=TOKENS)
    scores = sharp(2000, 5, seed=6)
    (wanted,) = decoder.decode(scores[None], np.array([2000]), kind="log_probs")[0]
    stream = decoder.stream(kind="log_probs")
    tokens = []
    for start in range(0, 2000, 13):
        stream.step(scores[start : start + 13])
        tokens += stream.take_stable().tokens.tolist()
    (rest,) = stream.finish()
    assert tokens + rest.tokens.tolist() == wanted.tokens.tolist()
    assert (rest.score, rest.lm_score) == (wanted.score, wanted.lm_score)
    said, last = split(wanted.tokens.tolist())
    said += [last] if last else []
    assert wanted.lm_score == pytest.approx(lm_models.slow_score(words[0], said), abs=1e-2)


def test_threads_share_the_models(words):
    hotwords = Hotwords({"ab": 4.0}, TOKENS, separator="|", excluded=[0])
    options = BeamOptions(beam_size=20, lm_weight=1.0, separator=SEPARATOR)
    decoder = BeamDecoder(options, lm=words[1], hotwords=hotwords, tokens=TOKENS)
    scores = np.stack([log_probs(60, 5, seed, 1.5) for seed in range(32)])
    lengths = np.arange(29, 61)
    outcomes = [
        decoder.decode(scores, lengths, kind="log_probs", threads=threads, nbest=5)
        for threads in (1, 4)
    ]
    for one, other in zip(*outcomes, strict=True):
        assert_same(one, other)


def test_a_model_needs_tokens_and_a_separator(words):
    weighted = BeamOptions(lm_weight=1.0)
    with pytest.raises(ValueError, match="a language model of words needs the separator"):
        BeamDecoder(weighted, lm=words[1], tokens=TOKENS)
    with pytest.raises(ValueError, match="a language model needs the tokens"):
        BeamDecoder(BeamOptions(lm_weight=1.0, separator=3), lm=words[1])
    hotwords = Hotwords(["ab"], TOKENS, separator="|", excluded=[0])
    with pytest.raises(ValueError, match="the hotwords were made for 5 tokens, the logits have 4"):
        decode(log_probs(3, 4), models={"hotwords": hotwords})
