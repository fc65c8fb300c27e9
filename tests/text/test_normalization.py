"""Normalisation against fairseq's results, and the source offsets it keeps."""

import itertools
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_engine.text.aligned import AlignedText, attaches
from mms_engine.text.normalization import normalize
from text.samples import LANGUAGES, TEXTS


def normalized(text: str, language: str = "eng") -> str:
    return normalize(AlignedText.from_source(text), language).text


# The results are those of text_normalize in examples/mms/data_prep of facebookresearch/fairseq.
@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("eng", "Hello, WORLD!", "hello world"),
        ("eng", "Straße \u0130zmir ΟΔΟΣ", "straße i\u0307zmir οδος"),
        ("eng", "ﬁn ① ㎏ Ｆｕｌｌ x²", "fin kg full x2"),
        ("eng", "e\u0301 \u0301a", "\u00e9 \u0301a"),
        ("eng", "(Sam 23:17) wept (softly) (a (1) b)", "wept softly b"),
        ("eng", "( 1 no end", "no end"),
        ("eng", "a&lt;b&gt;c&nbspd &amp;", "abcd amp"),
        ("eng", "don’t rock’n’roll ’tis dogs’ a’ ’b", "don't rock n'roll tis dogs a b"),
        ("eng", "l‛eau d‘or", "l'eau d'or"),
        ("eng", "so – then — well-known “quoted” «x» …", "so – then — well-known quoted x"),
        ("eng", "in 1984 12 x1 1x ٣٤ १२ 13.60", "in x1 1x ٣٤"),
        ("eng", "1984", "1984"),
        ("eng", "1984 a", "a"),
        ("eng", "12 34", ""),
        ("eng", "1⁄2 ½ a ⅓", "a"),
        ("eng", "  a \t b\u00a0\u3000c  ", "a b c"),
        ("eng", "a\ufffdb\x08c", "a b c"),
        ("eng", "", ""),
        ("eng", "!?", ""),
        ("hin", "नमस्ते। क्या हाल है॥", "नमस्ते क्या हाल है"),
        ("jpn", "ロシアー、人々。", "ロシア 人"),
        ("cmn", "“三万”一（12）。", "三万 一"),
        ("tha", "ๆ กข\u200dค", "กข ค"),
        ("eng", "กข\u200dค", "กข\u200dค"),
        ("fas", "می\u200cخواهم \u200e\u200f\u202aa\u202c\u200b.", "میخواهم a"),
        ("ara", "السَّلَامُ، عليكم؟ ـ", "السلام عليكم"),
        ("mon", "та\u00adл", "тал"),
        ("khk", "та\u00adл", "тал"),
        ("eng", "co\u00adop", "co\u00adop"),
        ("heb", "שָׁלוֹם־עולם ׃", "שלום עולם"),
        ("eng", "שָׁלוֹם", "שָׁלוֹם"),
    ],
)
def test_line_equals_that_of_fairseq(language: str, text: str, expected: str) -> None:
    assert normalized(text, language) == expected


@pytest.mark.parametrize("language", ["ara", "arb", "swh", "eng", "uig-script_arabic"])
def test_alef_rule_of_arabic_acts_in_every_language(language: str) -> None:
    """fairseq's languages share one mapping, to which Arabic adds; its other rules are local."""
    assert normalized("\u0671\u0644", language) == "\u0627\u0644"


def test_punctuation_is_fairseqs_list() -> None:
    """Of its 252 characters, NFKC leaves 215; the last of three quotes becomes an apostrophe."""
    stable = [
        c
        for c in map(chr, range(1, 0x10000))
        if unicodedata.normalize("NFKC", c) == c.lower() == c and not c.isspace() and c != ")"
    ]
    text = normalize(AlignedText.from_source("a".join(["a", *stable, "a"])), "eng")
    marks = {
        stable[(start - 1) // 2]
        for c, start in zip(text.text, text.starts, strict=True)
        if c == " " and start
    }
    assert len(marks | {")"}) == 214
    assert {"-", "'", "\u2013", "\u2014"}.isdisjoint(marks)


def test_javanese_loses_diacritics_but_not_its_script() -> None:
    assert normalized("Pèhak éling ꦗꦮ", "jav") == "pehak eling ꦗꦮ"


def test_characters_keep_their_place_in_the_source() -> None:
    source = "  E\u0301!  ﬁ (1) l’a\u200bb"
    text = normalize(AlignedText.from_source(source, offset=10), "eng")
    places = [
        (c, source[start - 10 : end - 10])
        for c, start, end in zip(text.text, text.starts, text.ends, strict=True)
    ]
    assert places == [
        ("\u00e9", "E\u0301"),
        (" ", "!  "),
        ("f", "ﬁ"),
        ("i", "ﬁ"),
        (" ", " (1) "),
        ("l", "l"),
        ("'", "’"),
        ("a", "a"),
        ("b", "b"),
    ]


@given(TEXTS, st.sampled_from([*LANGUAGES, "heb", "jav"]))
def test_offsets_never_decrease_and_cover_characters(source: str, language: str) -> None:
    text = normalize(AlignedText.from_source(source), language)
    assert len(text.starts) == len(text.ends) == len(text.text)
    assert list(text.starts) == sorted(text.starts)
    assert list(text.ends) == sorted(text.ends)
    assert all(
        0 <= start < end <= len(source) for start, end in zip(text.starts, text.ends, strict=True)
    )
    assert not re.search(r"^\s|\s$|\s\s", text.text)


@given(TEXTS)
def test_unicode_normalization_and_case_equal_pythons(source: str) -> None:
    text = AlignedText.from_source(source)
    assert text.normalize("NFC").text == unicodedata.normalize("NFC", source)
    assert text.normalize("NFKC").text == unicodedata.normalize("NFKC", source)
    assert text.lower().text == source.lower()


def test_every_composition_is_of_a_character_that_attaches() -> None:
    for character in map(chr, range(0x110000)):
        if not unicodedata.decomposition(character) and not 0xAC00 <= ord(character) <= 0xD7A3:
            continue
        parts = unicodedata.normalize("NFD", character)
        whole = unicodedata.normalize("NFC", parts)
        for left, right in itertools.pairwise(parts):
            if len(whole) < len(parts):
                assert attaches(right), f"{left!r} {right!r}"


def test_marks_behind_white_space_do_not_stand_for_it() -> None:
    text = AlignedText.from_source("a \u0344").normalize("NFC")
    assert (text.text, list(text.starts)) == ("a \u0308\u0301", [0, 1, 2, 2])


def test_long_lines_take_linear_time() -> None:
    """Each of these takes minutes or more if one step is quadratic."""
    for part in ("(", "’a", "1 ", "\u0301", "&lt", "a"):
        normalized(part * 50_000)
