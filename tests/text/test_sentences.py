"""Sentences of texts that arrive in parts, and dates and symbols written out."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine.errors import TextError
from mms_engine.text.aligned import AlignedText
from mms_engine.text.numbers import read_numbers
from mms_engine.text.sentences import Sentence, sentences
from mms_engine.text.symbols import read_symbols
from text.samples import SAMPLES, TEXTS

MIXED = (
    'Hello there. Dr. Smith paid 3.5 dollars! "Really?" he asked. <break time="500ms"/> '
    "Next; one…\n"
    "\nA paragraph of example.com. यह है। वह है। 你好。世界！ ጤና ይስጥልኝ። مرحبا؟ <break time='1s'> "
    "Καλά; <break/>end"
)


def texts(text: str, language: str = "eng", **options) -> list[str]:
    return [one.text for one in sentences([text], language, **options)]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("eng", "Dr. Smith came. He left.", ["Dr. Smith came.", "He left."]),
        ("eng", "It is 3.5 at e.g. home", ["It is 3.5 at e.g. home"]),
        ("eng", '"Go!" he said. (Yes.) No', ['"Go!" he said.', "(Yes.)", "No"]),
        ("deu", "Am 3. Mai kam er. Gut.", ["Am 3. Mai kam er.", "Gut."]),
        ("eng", "wrapped\nline. Next\n\nparagraph", ["wrapped\nline.", "Next", "paragraph"]),
        ("hin", "यह है।वह है।", ["यह है।", "वह है।"]),
        ("cmn", "你好。「世界！」再见", ["你好。", "「世界！」", "再见"]),
        ("amh", "ጤና ይስጥልኝ። ደህና።", ["ጤና ይስጥልኝ።", "ደህና።"]),
        ("urd", "یہ ہے۔ وہ ہے۔", ["یہ ہے۔", "وہ ہے۔"]),
        ("ara", "كيف؟ جيد", ["كيف؟", "جيد"]),
        ("ell", "Τι; Ναι", ["Τι;", "Ναι"]),
        ("mya", "က။ ခ။", ["က။", "ခ။"]),
        ("khm", "ក។ ខ", ["ក។", "ខ"]),
        ("bod", "ཀ། ཁ།", ["ཀ།", "ཁ།"]),
        ("hye", "Բարև։ Այո", ["Բարև։", "Այո"]),
        ("jav", "ꦏ꧉ ꦏ", ["ꦏ꧉", "ꦏ"]),
        ("eng", "", []),
        ("eng", "  \n ", []),
    ],
)
def test_sentences_end_in_every_script(language: str, text: str, expected: list[str]) -> None:
    assert texts(text, language) == expected


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(TEXTS, st.just(MIXED)), data=st.data())
def test_sentences_do_not_depend_on_the_parts(text: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=20).map(sorted))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for longest in (None, 7):
        whole = list(sentences([text], "eng", longest=longest))
        assert list(sentences(parts, "eng", longest=longest)) == whole


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_sentences_are_the_whole_text(text: str) -> None:
    left = list(text)
    for one in sentences([text], "eng", longest=10):
        assert text[one.start : one.start + len(one.text)] == one.text
        left[one.start : one.start + len(one.text)] = [" "] * len(one.text)
    assert not "".join(left).strip()


def test_breaks_and_pauses() -> None:
    text = 'One. Two,<break time="500ms"/>three <break time=1.5s> <break/>\n\nFour'
    assert list(sentences([text], "eng")) == [
        Sentence("One.", 0, 0.35),
        Sentence("Two,", 5, 0.0),
        Sentence("", 9, 0.5),
        Sentence("three", 30, 0.0),
        Sentence("", 36, 1.5),
        Sentence("", 54, 0.5),
        Sentence("Four", 64, 0.35),
    ]


@pytest.mark.parametrize("tag", ['<break time="5 min"/>', "<break time='100s'/>", "<break now/>"])
def test_unreadable_break_is_an_error(tag: str) -> None:
    with pytest.raises(TextError, match=r"cannot read .* at character 4"):
        list(sentences([f"One {tag} two."], "eng"))


def test_long_sentence_is_cut_at_a_clause_or_a_space() -> None:
    found = list(sentences(["word " * 30 + "end, " + "word " * 100], "eng"))
    assert found[0].text.endswith("end,")
    assert found[0].pause == 0.15
    assert all(len(one.text) <= 300 and one.pause in (0.0, 0.15, 0.35) for one in found)
    unspaced = texts("ก" * 1000, "tha")
    assert [len(one) for one in unspaced] == [120] * 8 + [40]
    assert "".join(texts("e\u0301" * 400)) == "e\u0301" * 400
    assert not any(one.startswith("\u0301") for one in texts("e\u0301" * 400))


def test_invalid_text_is_an_error() -> None:
    for bad in ("\0", "\ud800"):
        with pytest.raises(TextError, match="at character 5003"):
            list(sentences(["abc. ", "x" * 4998 + bad], "eng"))


def test_parts_end_sentences_on_request() -> None:
    lines = ["one\n", "two. Three\n", "\n", "four"]
    assert [one.text for one in sentences(lines, "eng", by_part=True)] == [
        "one", "two.", "Three", "four",
    ]  # fmt: skip


def test_first_sentence_comes_before_the_rest_of_the_text() -> None:
    def parts():
        yield "First. " + "X" * 200
        raise AssertionError("read too far")

    assert next(sentences(parts(), "eng")).text == "First."


def test_megabyte_of_text_is_split_in_flat_memory() -> None:
    source = " ".join(text for _, text in SAMPLES) + "\n"
    count = 1_000_000 // len(source) + 1
    tracemalloc.start()
    try:
        characters = sum(len(one.text) for one in sentences((source for _ in range(count)), "eng"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert characters > 900_000
    assert peak < 500_000


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "eng",
            "On 2026-11-29 at 10:30",
            "On November twenty-nine, twenty twenty-six at ten thirty",
        ),
        ("eng", "5% & 3.5 km", "five percent and three point five kilometers"),
        ("eng", "$5, 20 €, 5°C", "five US dollars, twenty euros, five degrees Celsius"),
        ("deu", "29.11.2026", "neunundzwanzig. November zweitausendsechsundzwanzig"),
        ("fra", "le 05/11/2026", "le cinq novembre deux mille vingt-six"),
        ("swh", "20% tarehe 5", "asilimia ishirini tarehe tano"),
        ("hin", "२०%", "बीस प्रतिशत"),
        ("eng", "2026-13-45", "twenty twenty-six-thirteen-forty-five"),
        ("hak", "5%", "5%"),
        ("eng", "R&D 1:2:3", "R&D one:two:three"),
    ],
)
def test_dates_and_symbols_are_read(language: str, text: str, expected: str) -> None:
    read = read_symbols(AlignedText.from_source(text), language)
    assert read_numbers(read, language, cldr=True).text == expected
