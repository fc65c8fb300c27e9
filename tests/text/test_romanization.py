"""Romanisation against uroman's own strings, and the source offsets it keeps."""

import csv
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uroman
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine.errors import MmsError
from mms_engine.text import romanization
from mms_engine.text.aligned import AlignedText
from mms_engine.text.normalization import normalize
from mms_engine.text.romanization import LANGUAGE_RULES, romanize
from text.samples import LANGUAGES, SAMPLES, TEXTS

SPEECH = Path(__file__).parents[3] / "shared" / "speech" / "metadata.tsv"


@pytest.fixture(scope="module")
def reference() -> uroman.Uroman:
    return romanization._uroman()[1]


def romanized(text: str, language: str) -> str:
    return romanize(AlignedText.from_source(text), language).text


def check_sample(reference: uroman.Uroman, language: str, source: str) -> None:
    """Check the letters against uroman's of the whole line, and the offsets."""
    normal = normalize(AlignedText.from_source(source), language)
    text = romanize(normal, language)
    code = language if language in LANGUAGE_RULES else None
    expected = reference.romanize_string(normal.text, lcode=code)
    if not writes_numerals(normal.text, expected):
        assert text.text == expected
    check_offsets(text, source)
    # Each part of the romanised text is that of the source it stands for, or of its context.
    for start, end in {*zip(text.starts, text.ends, strict=True)}:
        assert source[start:end].strip() or set(source[start:end]) <= {" ", "\u00a0"}


def writes_numerals(text: str, letters: str) -> bool:
    """Return whether uroman wrote digits that are not in the text, as for Chinese numerals."""
    return sum(map(str.isdecimal, letters)) > sum(map(str.isdecimal, text))


def check_offsets(text: AlignedText, source: str) -> None:
    assert len(text.starts) == len(text.ends) == len(text.text)
    assert list(text.starts) == sorted(text.starts)
    assert list(text.ends) == sorted(text.ends)
    assert all(
        0 <= start < end <= len(source) for start, end in zip(text.starts, text.ends, strict=True)
    )


@pytest.mark.parametrize(("language", "source"), SAMPLES)
def test_sample_equals_plain_uroman(reference: uroman.Uroman, language: str, source: str) -> None:
    check_sample(reference, language, source)


@pytest.mark.skipif(not SPEECH.is_file(), reason="needs ../shared/speech, which is not there")
def test_texts_of_58_languages_equal_plain_uroman(reference: uroman.Uroman) -> None:
    with SPEECH.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len({row["lang"] for row in rows}) == 58
    for row in rows[::10]:
        check_sample(reference, row["lang"], row["original"] or row["text"])


def test_letters_stand_for_their_characters() -> None:
    source = "नेपाल Łódź 学生"
    text = romanize(AlignedText.from_source(source), "hin")
    parts: dict[tuple[int, int], str] = {}
    for c, start, end in zip(text.text, text.starts, text.ends, strict=True):
        parts[start, end] = parts.get((start, end), "") + c
    assert {source[s:e]: letters for (s, e), letters in parts.items()} == {
        "न": "n", "े": "e", "प": "p", "ा": "aa", "ल": "l", " ": " ", "Ł": "L", "ó": "o", "d": "d",
        "ź": "z", "学": "xue", "生": "sheng",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("三万一", "sanwanyi"),
        ("二零零五年", "erlinglingwunian"),
        ("第三", "disan"),
        ("百分之五", "baifenzhiwu"),
        ("12", "12"),
        ("12年", "12nian"),
        ("3万人", "wanren"),  # its 3 is left to the treatment of numbers in digits
    ],
)
def test_numerals_get_their_readings(text: str, expected: str) -> None:
    assert romanized(text, "cmn") == expected


def test_rules_of_a_language_are_used_where_fairseq_does(reference: uroman.Uroman) -> None:
    word = "голова"
    russian, ukrainian = (reference.romanize_string(word, lcode=code) for code in ("rus", "ukr"))
    assert russian != ukrainian
    assert romanized(word, "ukr") == ukrainian
    assert romanized(word, "rus") == romanized(word, "uzb-script_cyrillic") == russian
    assert "hin" not in LANGUAGE_RULES
    assert len(LANGUAGE_RULES) == 25


def test_letters_of_english_need_no_table(reference: uroman.Uroman) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz'-"
    for code in (None, "deu", "eng", "lit", "tur"):
        for word in (f"{a}{b}a{b}{a}" for a in letters for b in letters):
            assert reference.romanize_string(word, lcode=code) == word


def test_long_run_is_cut_between_characters(reference: uroman.Uroman) -> None:
    word = "अ" + "कि" * 2000
    pieces = [word[start:end] for start, end in romanization._pieces(word)]
    assert "".join(pieces) == word
    assert max(map(len, pieces)) <= 1000
    assert all(piece[0] in "अक" for piece in pieces)
    assert romanized(word, "hin") == reference.romanize_string(word)


def test_threads_share_one_romanizer(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    build = uroman.Uroman

    def count() -> uroman.Uroman:
        built.append(threading.get_ident())
        return build()

    monkeypatch.setattr(uroman, "Uroman", count)
    expected = [romanized(source, language) for language, source in SAMPLES]
    romanization._uroman.cache_clear()
    romanization._edges.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda sample: romanized(sample[1], sample[0]), SAMPLES * 2))
    assert found == expected * 2
    assert len(built) == 1


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uroman", None)
    romanization._uroman.cache_clear()
    romanization._edges.cache_clear()
    assert romanized("plain words", "eng") == "plain words"
    with pytest.raises(MmsError, match=r"uroman: pip install 'mms-engine\[align\]'"):
        romanized("слова", "rus")


@settings(deadline=None)
@given(TEXTS, st.sampled_from(LANGUAGES))
def test_offsets_never_decrease(source: str, language: str) -> None:
    check_offsets(romanize(AlignedText.from_source(source), language), source)
