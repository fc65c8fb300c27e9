"""Search over a lexicon, against the enumeration of all paths and flashlight's decoder."""

import itertools
import math

import numpy as np
import pytest

import lm_models
from flashlight_peer import THRESHOLD, Peer
from mms_kernels.lexicon import Lexicon, LexiconDecoder, LexiconOptions
from mms_kernels.lm import NgramModel
from mms_kernels.reference import lexicon as oracle

BLANK, SEPARATOR = 0, 1
LETTERS = "abcdefghij"
TOKENS = ["<pad>", "|", *LETTERS]


def log_probs(frames: int, vocab: int, seed: int, scale: float = 3.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, scale, (frames, vocab))
    shifted = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return shifted.astype(np.float32)


def spelled(words: list[str], separator: int | None = SEPARATOR) -> list[tuple[list[int], int]]:
    """Return the spelling of each word, of which equal ones are different words."""
    end = [] if separator is None else [separator]
    return [([2 + LETTERS.index(c) for c in word] + end, i) for i, word in enumerate(words)]


def decode(
    words: list[str], emission: np.ndarray, lm: NgramModel | None = None, nbest: int = 1, **options
) -> list:
    options = {"separator": SEPARATOR} | options
    lexicon = Lexicon(spelled(words, options["separator"]), words)
    stream = LexiconDecoder(lexicon, LexiconOptions(**options), lm=lm).stream(kind="log_probs")
    stream.step(emission)
    return stream.finish(nbest=nbest)


SMALL = ["a", "b", "ab", "aa", "ba", "a"]
"""The last is written like the first."""


@pytest.mark.parametrize("sum_paths", [False, True])
@pytest.mark.parametrize("open_end", [False, True])
@pytest.mark.parametrize("separator", [SEPARATOR, None])
@pytest.mark.parametrize("seed", range(4))
def test_all_hypotheses_are_those_of_all_paths(
    seed: int, separator: int | None, open_end: bool, sum_paths: bool
) -> None:
    emission = log_probs(6, 4, seed)
    rules = {"separator": separator, "sum_paths": sum_paths, "open_end": open_end}
    spellings: dict[tuple[int, ...], list[int]] = {}
    for tokens, word in spelled(SMALL, None):
        spellings.setdefault(tuple(tokens), []).append(word)
    expected = oracle.lexicon_search(emission, spellings, oracle.Rules(**rules))
    found = decode(SMALL, emission, nbest=10_000, beam_size=60_000, word_score=0.7, **rules)
    assert len(found) == len(expected) > 20
    for one in found:
        words = tuple(one.tokens.tolist())
        assert one.log_prob == pytest.approx(expected.pop(words), abs=1e-6)
        assert one.score == pytest.approx(one.log_prob + 0.7 * len(words))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@pytest.fixture(scope="module")
def many_words() -> list[str]:
    random = np.random.default_rng(5)
    words = {
        "".join(random.choice(list(LETTERS), random.integers(1, 6)).tolist()) for _ in range(300)
    }
    return sorted(words)


@pytest.fixture(scope="module")
def models(many_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A language model of most of the words, in both programs."""
    kenlm = pytest.importorskip("kenlm", reason="the package kenlm is not installed")
    folder = tmp_path_factory.mktemp("lm")
    text = lm_models.random_text(many_words[::2], 400, 1)
    (folder / "lm.arpa").write_text(lm_models.arpa(lm_models.estimate(text, 3)), encoding="utf-8")
    lm_models.convert(folder / "lm.arpa", folder / "lm.bin")
    return NgramModel.open(folder / "lm.bin"), kenlm.Model(str(folder / "lm.arpa"))


@pytest.mark.parametrize("sum_paths", [False, True])
@pytest.mark.parametrize("scale", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("beam_threshold", [THRESHOLD, 25.0])
def test_scores_at_beam_500_are_those_of_flashlight(
    many_words: list[str], scale: float, beam_threshold: float, sum_paths: bool
) -> None:
    peer = Peer(
        spelled(many_words),
        many_words,
        len(TOKENS),
        SEPARATOR,
        word_score=-3.5,
        log_add=sum_paths,
        beam_threshold=beam_threshold,
    )
    options = {"word_score": -3.5, "sum_paths": sum_paths, "beam_threshold": beam_threshold}
    for seed in range(8):
        emission = log_probs(60, len(TOKENS), seed, scale)
        score, words = peer.decode(emission)
        best = decode(many_words, emission, open_end=False, **options)[0]
        assert best.score == pytest.approx(score, abs=1e-4)
        assert tuple(best.tokens.tolist()) == words


def test_scores_with_language_model_are_those_of_flashlight(
    many_words: list[str], models: tuple
) -> None:
    ours, theirs = models
    options = {"lm_weight": 1.48, "word_score": -0.18}
    peer = Peer(spelled(many_words), many_words, len(TOKENS), SEPARATOR, theirs, **options)
    for seed in range(6):
        emission = log_probs(40, len(TOKENS), seed)
        score, words = peer.decode(emission)
        best = decode(many_words, emission, ours, open_end=False, **options)[0]
        assert best.score == pytest.approx(score, abs=1e-3)
        assert tuple(best.tokens.tolist()) == words
        assert best.lm_score < 0


def test_words_with_one_spelling_are_told_apart_by_the_language_model(
    many_words: list[str], tmp_path
) -> None:
    texts = [["x", "one", "y"], ["z", "two", "y"]] * 5
    arpa = lm_models.arpa(lm_models.estimate(texts, 2))
    (tmp_path / "lm.arpa").write_text(arpa, encoding="utf-8")
    lm_models.convert(tmp_path / "lm.arpa", tmp_path / "lm.bin")
    words = ["x", "z", "one", "two", "y"]
    letters = {"x": [2], "z": [3], "one": [4], "two": [4], "y": [5]}
    lexicon = Lexicon([([*letters[word], SEPARATOR], i) for i, word in enumerate(words)], words)
    options = LexiconOptions(separator=SEPARATOR, lm_weight=1.0)
    decoder = LexiconDecoder(lexicon, options, lm=NgramModel.open(tmp_path / "lm.bin"))
    for first, middle in (("x", "one"), ("z", "two")):
        path = [*letters[first], SEPARATOR, 4, SEPARATOR, 5, SEPARATOR]
        emission = np.full((len(path), 6), -9.0, np.float32)
        emission[np.arange(len(path)), path] = -0.01
        stream = decoder.stream(kind="log_probs")
        stream.step(emission)
        assert [words[i] for i in stream.finish()[0].tokens] == [first, middle, "y"]


def test_any_chunking_gives_the_same_bits(many_words: list[str]) -> None:
    emission = log_probs(200, len(TOKENS), 3)
    lexicon = Lexicon(spelled(many_words), many_words)
    decoder = LexiconDecoder(lexicon, LexiconOptions(separator=SEPARATOR, beam_size=50))
    results = []
    for sizes in ([200], [1] * 200, [7, 93, 0, 100]):
        stream = decoder.stream()
        start = 0
        stable = 0
        for size in sizes:
            stream.step(emission[start : start + size])
            start += size
            best, now = stream.copy().partial()
            assert stable <= now <= len(best)
            stable = now
        assert stream.frames == 200
        results.append(stream.finish(nbest=5))
        assert stream.frames == 0
    for found in results[1:]:
        for one, other in zip(found, results[0], strict=True):
            assert (one.score, one.log_prob) == (other.score, other.log_prob)
            for name in ("tokens", "starts", "ends", "scores", "peaks"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_stable_words_do_not_change_and_memory_is_bounded(many_words: list[str]) -> None:
    lexicon = Lexicon(spelled(many_words), many_words)
    options = LexiconOptions(separator=SEPARATOR, beam_size=100, word_score=-1.0)
    stream = LexiconDecoder(lexicon, options).stream(kind="log_probs")
    settled: list[int] = []
    emission = log_probs(6_000, len(TOKENS), 9, 6.0)
    most = 0
    for start in range(0, len(emission), 500):
        stream.step(emission[start : start + 500])
        best, stable = stream.partial()
        words = best.tokens[:stable].tolist()
        assert words[: len(settled)] == settled
        settled = words
        most = max(most, stream.live)
    assert len(settled) > 500
    assert most < 100_000
    assert stream.finish()[0].tokens[: len(settled)].tolist() == settled


def test_times_are_those_of_the_letters() -> None:
    path = [0, 2, 2, 3, 0, 1, 0, 3, 3, 1]
    emission = np.full((len(path), 4), -8.0, np.float32)
    emission[np.arange(len(path)), path] = np.linspace(-0.3, -0.1, len(path))
    best = decode(["ab", "b"], emission)[0]
    assert best.tokens.tolist() == [0, 1]
    assert best.starts.tolist() == [1, 7]
    assert best.ends.tolist() == [4, 9]
    sums = [emission[t, path[t]] for t in (1, 2, 3)], [emission[t, path[t]] for t in (7, 8)]
    np.testing.assert_allclose(best.scores, [np.mean(part) for part in sums], rtol=1e-6)
    np.testing.assert_allclose(best.peaks, [np.max(part) for part in sums], rtol=1e-6)


def test_utterance_without_a_complete_word_has_the_words_before() -> None:
    path = [2, 1, 3]  # "a", then the beginning of "bcda"
    emission = np.full((len(path), 6), -20.0, np.float32)
    emission[np.arange(len(path)), path] = -0.01
    emission[2, [0, 1, 2]] = -np.inf
    best = decode(["a", "bcda"], emission)[0]
    assert best.tokens.tolist() == [0]


def test_impossible_utterance_has_no_result() -> None:
    emission = np.full((3, 6), -np.inf, np.float32)
    emission[:, 5] = 0.0
    assert decode(["a"], emission) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size"),
        ({"blank": 1}, "must not be the blank"),
        ({"beam_threshold": -1.0}, "beam_threshold"),
        ({"lm_weight": math.nan}, "lm_weight"),
        ({"word_score": math.inf}, "word_score"),
    ],
)
def test_refused_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(["a"], log_probs(2, 4, 0), **options)


def test_refused_lexicons() -> None:
    for spellings, message in (
        ([], "no words"),
        ([([], 0)], "no tokens"),
        ([([-1], 0)], "token -1"),
        ([([1], 7)], "word 7, there are 1 words"),
    ):
        with pytest.raises(ValueError, match=message):
            Lexicon(spellings, ["a"])


def test_bad_frames_leave_the_stream_unchanged(many_words: list[str]) -> None:
    decoder = LexiconDecoder(Lexicon(spelled(many_words), many_words), LexiconOptions(separator=1))
    emission = log_probs(30, len(TOKENS), 2)
    stream = decoder.stream(kind="log_probs")
    stream.step(emission[:10])
    for bad in (math.nan, math.inf):
        broken = emission[10:].copy()
        broken[5, 3] = bad
        with pytest.raises(ValueError, match="frame 15"):
            stream.step(broken)
    with pytest.raises(ValueError, match="the logits have only 3 tokens"):
        decoder.stream().step(emission[:, :3].copy())
    stream.step(emission[10:])
    expected = decode(many_words, emission)[0]
    assert stream.finish()[0].score == expected.score


def test_spelling_order_does_not_matter(many_words: list[str]) -> None:
    emission = log_probs(50, len(TOKENS), 4)
    pairs = spelled(many_words)
    results = []
    for order in (pairs, pairs[::-1], list(itertools.chain(pairs, pairs))):
        lexicon = Lexicon(order, many_words)
        stream = LexiconDecoder(lexicon, LexiconOptions(separator=SEPARATOR)).stream()
        stream.step(emission)
        results.append(stream.finish()[0])
    assert len({one.score for one in results}) == 1
    assert len({tuple(one.tokens.tolist()) for one in results}) == 1
