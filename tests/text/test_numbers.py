"""Numbers in words: what is read, how, and where its letters stand."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_engine.errors import MmsError
from mms_engine.text import numbers
from mms_engine.text.aligned import AlignedText
from mms_engine.text.numbers import read_numbers
from text.samples import LANGUAGES, TEXTS


def read(text: str, language: str) -> str:
    return read_numbers(AlignedText.from_source(text), language).text


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("eng", "21 men", "twenty-one men"),
        ("eng", "12,000.5, 1,000,007", "twelve thousand point five, one million and seven"),
        ("deu", "12.000,5 und 20 000", "zwölftausend Komma fünf und zwanzigtausend"),
        ("fra", "20 000, 20\u00a0000 et 3,5", "vingt mille, vingt mille et trois virgule cinq"),
        ("eng", "in 2, 3 or 4", "in two, three or four"),
        ("eng", "rooms 20 300", "rooms twenty three hundred"),
        ("rus", "13.60", "тринадцать.шестьдесят"),
        ("ita", "3,14", "tre,quattordici"),  # num2words would drop the decimals
        ("eng", "at 12:30 on 3/5", "at twelve:thirty on three/five"),
        ("deu", "am 3.5.2019", "am drei.fünf.zweitausendneunzehn"),
        ("eng", "the 3rd, 21ST and 4x", "the third, twenty-first and four x"),
        ("eng", "1.2.3 4.5", "one.two.three four point five"),
        ("eng", "1984", "nineteen eighty-four"),
        ("deu", "1984", "neunzehnhundertvierundachtzig"),
        ("deu", "2984", "zweitausendneunhundertvierundachtzig"),
        ("eng", "007", "zero zero seven"),
        ("eng", "mp3s", "mp three s"),
        ("hin", "१२", "१२"),
        ("fas", "۱۲٫۵", "دوازده٫پنج"),
        ("ara", "٣", "ثلاثة"),
        ("eng", "１２ १२", "twelve twelve"),
        ("tha", "๑๒คน", "สิบสอง คน"),
        ("swh", "12", "12"),
        ("eng", "2² 1½ 5①", "2² 1½ 5①"),
        ("amh", "12 2019", "አሥራ ሁለት 2019"),  # num2words fails from 1000 on
        ("azj-script_latin", "3", "üç"),
    ],
)  # fmt: skip
def test_number_is_read(language: str, text: str, expected: str) -> None:
    assert read(text, language) == expected


def test_letters_stand_for_the_whole_number() -> None:
    source = "a 12,000th b"
    text = read_numbers(AlignedText.from_source(source), "eng")
    places = set(zip(text.starts[2:-2], text.ends[2:-2], strict=True))
    assert text.text == "a twelve thousandth b"
    assert [source[start:end] for start, end in places] == ["12,000th"]


@pytest.mark.parametrize("iso", sorted(numbers._LANGUAGES))
def test_every_language_reads_small_numbers(iso: str) -> None:
    for number in (*range(21), 99, 100, 999):
        words = read(str(number), iso)
        assert words.strip()
        assert not any(map(str.isdigit, words)), words
    assert len({read(str(number), iso) for number in range(10)}) == 10


@pytest.mark.parametrize("iso", sorted(numbers._LANGUAGES))
def test_decimals_are_not_lost(iso: str) -> None:
    for mark in ".,":
        assert read(f"3{mark}7", iso) != read("3", iso)
        assert read(f"3{mark}7", iso) != read(f"3{mark}8", iso)


@given(TEXTS, st.sampled_from([*LANGUAGES, *sorted(numbers._LANGUAGES)]))
def test_text_around_numbers_stays(source: str, language: str) -> None:
    text = read_numbers(AlignedText.from_source(source), language)
    assert list(text.starts) == sorted(text.starts)
    kept = {i for i, c in enumerate(source) if not c.isdecimal()}
    seen = {i for s, e in zip(text.starts, text.ends, strict=True) for i in range(s, e)}
    assert kept <= seen


def test_long_runs_of_numbers_take_linear_time() -> None:
    for part in ("1 ", "1", "1,000", "1.", "1th"):
        read(part * 30_000, "eng")


def test_missing_package_is_named_only_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "num2words", None)
    numbers._read.cache_clear()
    assert read("none", "eng") == "none"
    assert read("12", "swh") == "12"
    with pytest.raises(MmsError, match=r"num2words: pip install 'mms-engine\[align\]'"):
        read("12", "eng")
