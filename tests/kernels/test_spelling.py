"""Folding of text to a vocabulary, and its spelling with multi-character tokens."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_kernels.spelling import Spelling

ENGLISH = ("<pad>", "|", *"abcdefghijklmnopqrstuvwxyz'")
FRENCH = (*ENGLISH, *"éèàùçô")


def spelling(tokens):
    return Spelling(tokens, excluded={0})


FOLDED = {
    "capitals": (FRENCH, "ÉCOLE Ça", "école ça"),
    "decomposed": (FRENCH, "e\u0301cole E\u0300", "école è"),
    "apostrophes": (FRENCH, "l\u2019eau l\u02bceau l`eau l\uff07eau", "l'eau l'eau l'eau l'eau"),
    "another apostrophe": ("_|abl\u2019", "l'a l\u02bba", "l\u2019a l\u2019a"),
    "two apostrophes": ("_|abl'\u02bc", "l'a l\u02bca l\u2019a", "l'a l\u02bca l'a"),
    "no apostrophe": ("_|abl", "l'a", "l'a"),
    "capital vocabulary": ("_|ABC'", "abc b\u2019a", "ABC B'A"),
    "both cases": ("_|abcA", "aA Bb", "aA bb"),
    "Turkish": ("_|i\u0131sİ", "Iİi\u0131s", "\u0131İi\u0131s"),
    "Turkish small letters": ("_|i\u0131sk", "ISIK İsi", "\u0131s\u0131k isi"),
    "Turkish capitals": ("_|IİSK", "\u0131sik", "ISİK"),
    "dotted capital without Turkish": ("_|isk", "İsİ IS", "isi is"),
    "sharp s": (ENGLISH, "straße", "straße"),
    "final sigma": ("_|λογσςό", "ΛΌΓΟΣ ΣΟΛΟΣ", "λόγος σολος"),
    "base letters and marks": ("_|aeo\u0301", "é É ó", "e\u0301 e\u0301 o\u0301"),
    "letter of two characters": (("_", "|", "g\u0303"), "G\u0303", "g\u0303"),
    "full width": (ENGLISH, "\uff21\uff22c", "abc"),
    "ligature": (ENGLISH, "\ufb01n", "fin"),
    "invisible characters": (ENGLISH, "\ufeffa\u200bb\u00adc\u200d", "abc"),
    "joiner that is a letter": ("_|ab\u200c", "a\u200cb\u200d", "a\u200cb"),
    "white space": (ENGLISH, "A\u00a0B\u2009C", "a\u00a0b\u2009c"),
    "other scripts": (ENGLISH, "日本 д", "日本 д"),
}


@pytest.mark.parametrize("case", FOLDED)
def test_text_is_folded_to_the_vocabulary(case):
    tokens, text, expected = FOLDED[case]
    assert spelling(tuple(tokens)).fold(text) == expected


@given(st.text(), st.sampled_from([FRENCH, tuple("_|ABC'"), tuple("_|i\u0131e\u0301")]))
def test_folding_again_changes_nothing(text, tokens):
    each = spelling(tokens)
    assert each.fold(each.fold(text)) == each.fold(text)


@given(st.text(alphabet="abcé'|l ", max_size=20))
def test_text_of_the_vocabulary_stays(text):
    assert spelling(FRENCH).fold(text) == text


@given(st.text(alphabet="abcéèàl'", min_size=1, max_size=9))
def test_upper_case_and_decomposed_twins_are_written_alike(word):
    twins = [word, word.upper(), unicodedata.normalize("NFD", word), word.replace("'", "\u2019")]
    assert spelling(FRENCH).written(twins) == [word] * 4


MANY = ("<pad>", "|", "a", "ab", "bc", "ch", "c", "né", "e\u0301")


def test_words_are_written_with_the_tokens_as_they_are():
    words = ["ABC", "acha", "NÉ", "é", "b", "ah", "", "a b"]
    assert spelling(MANY).written(words) == [
        *("abc", "acha", "né", "e\u0301", None, None, None, None)
    ]
    assert spelling(MANY).written([]) == []


def test_longest_tokens_are_preferred_where_the_rest_can_be_spelled():
    each = spelling(MANY)
    assert each.ids("ab ch") == [3, 1, 5]
    assert each.ids("abc") == [3, 6]
    assert each.ids("abch") == [3, 5]
    with pytest.raises(ValueError, match="phrase 'abb': 'b' is not in the vocabulary"):
        each.ids("abb")
    with pytest.raises(ValueError, match="phrase 'ah': 'h' is not in the vocabulary"):
        each.ids("ah")


def test_backtracking_where_the_longest_token_leads_nowhere():
    assert spelling(("_", "|", "ab", "a", "bc")).ids("abc") == [3, 4]


def test_long_words_take_linear_time():
    word = "ab" * 20_000 + "x"
    with pytest.raises(ValueError, match="'x' is not in the vocabulary"):
        spelling(("_", "|", "a", "b", "ab", "ba", "aba")).ids(word)


def test_tokens_are_written_as_the_vocabulary_has_them():
    texts = ["A", "|", "<pad>", "e\u0301", "é", "zz", "CH"]
    expected = ["a", "|", "<pad>", "e\u0301", "e\u0301", None, "ch"]
    assert spelling(MANY).written_tokens(texts) == expected
