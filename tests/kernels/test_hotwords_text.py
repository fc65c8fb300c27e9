"""From phrases as they are written to the automaton."""

import numpy as np
import pytest

from mms_kernels.hotwords import DEFAULT_WEIGHT, Hotwords, read_hotwords

TOKENS = ["<pad>", "|", "a", "b", "c", "ab", "é", "日", "本", "ch"]


def spelled(text, tokens=TOKENS):
    return np.array([tokens.index(token) for token in text.split()], np.int32)


def test_phrases_are_spelled_with_the_longest_tokens():
    hotwords = Hotwords({"abc ab": 2.0}, TOKENS)
    assert hotwords.score(spelled("ab c | ab")) == 2.0
    assert hotwords.score(spelled("a b c | ab")) == 0.0


def test_composed_and_decomposed_characters_are_the_same():
    for phrase in ["caf\u0065\u0301".replace("f", ""), "ca\u00e9"]:
        assert Hotwords([phrase], TOKENS, weight=1.0).score(spelled("c a é")) == 1.0


def test_vocabulary_is_normalised_too():
    tokens = ["<pad>", "|", "e\u0301", "a"]
    assert Hotwords(["\u00e9a"], tokens, weight=1.0).score(spelled("e\u0301 a", tokens)) == 1.0


def test_lists_with_and_without_weights():
    hotwords = Hotwords(["a", ("b", 2.0)], TOKENS, weight=7.0)
    assert hotwords.score(spelled("a | b")) == 9.0
    assert Hotwords(["a"], TOKENS).score(spelled("a")) == DEFAULT_WEIGHT
    assert Hotwords(["a", "a"], TOKENS, weight=1.0).score(spelled("a")) == 2.0


def test_without_a_separator_phrases_occur_anywhere():
    hotwords = Hotwords({"日 本": 1.0}, TOKENS, separator=None)
    assert hotwords.score(spelled("a 日 本 日 本 b")) == 2.0


def test_excluded_tokens_spell_nothing():
    with pytest.raises(ValueError, match="is not in the vocabulary"):
        Hotwords(["_a"], ["_", "|", "a"], excluded={0})
    assert Hotwords(["_a"], ["_", "|", "a"], weight=1.0).score(np.array([0, 2], np.int32)) == 1.0


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        (["b", "a-b"], "phrase 'a-b': '-' is not in the vocabulary"),
        (["aX"], "phrase 'aX': 'X' is not in the vocabulary"),
        (["a|b"], "phrase 'a|b': '|' is not in the vocabulary"),
        (["a", " \t"], "a phrase is empty"),
        ({"a": float("nan")}, "the weight of phrase 'a' is nan, not a finite number"),
    ],
)
def test_bad_phrases(phrases, message):
    with pytest.raises(ValueError) as caught:
        Hotwords(phrases, TOKENS)
    assert str(caught.value) == message


def test_bad_separator_and_bad_type():
    with pytest.raises(ValueError, match=r"^separator ' ' is not in the vocabulary: pass None"):
        Hotwords(["a"], TOKENS, separator=" ")
    with pytest.raises(TypeError, match="phrases is one string"):
        Hotwords("abc", TOKENS)


def test_repr_says_how_many():
    assert repr(Hotwords(["a", "b"], TOKENS)).startswith("Hotwords(2 phrases, ")


# The file


def test_read_hotwords(tmp_path):
    path = tmp_path / "phrases.txt"
    path.write_bytes(
        "\ufeff# names\r\nNew  York\t3.5\r\n\r\n  \nkol\u00e9\nkolé\t-1\n#x\t2\n".encode()
    )
    assert read_hotwords(path, weight=2.0) == {"New York": 3.5, "kolé": 1.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n\t2\n", "{path}:2: there is no phrase before the tab"),
        (b"a\tmuch\n", "{path}:1: the weight 'much' is not a finite number"),
        (b"a\t\n", "{path}:1: the weight '' is not a finite number"),
        (b"a\tinf\n", "{path}:1: the weight 'inf' is not a finite number"),
        (b"a\n\xff\n", "{path} is not UTF-8: byte 2 cannot be read"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "phrases.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_hotwords(path)
    assert str(caught.value) == message.format(path=path)
