"""Error rates, compared with hand-counted ones."""

import pytest

from mms_engine.asr.scoring import (
    AlignedText,
    Edits,
    Scored,
    differences,
    normalize_for_scoring,
    score,
)


def test_rates_per_language_and_in_total() -> None:
    result = score(
        [
            Scored("a", "eng", "one two three four", "one too three", held_out=True),
            Scored("b", "eng", "five", "five"),
            Scored("c", "fra", "l'été", "l'ete"),
        ]
    )
    english, french = result.languages
    assert (english.language, english.files, english.words) == ("eng", 2, 5)
    assert english.wer == pytest.approx(2 / 5)
    # w->o and " four" deleted, of 18 + 4 characters
    assert english.cer == pytest.approx(6 / 22)
    assert french.wer == 1.0
    assert french.cer == pytest.approx(2 / 5)
    assert result.total.wer == pytest.approx(3 / 6)
    assert result.held_out is not None
    assert result.held_out.wer == pytest.approx(2 / 4)


def test_held_out_is_none_without_marked_files() -> None:
    assert score([Scored("a", "eng", "one", "one")]).held_out is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  World!", "hello world"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("don\u2019t well-known", "don't well-known"),
        ("¿qué?", "qué"),
    ],
)
def test_normalization_ignores_case_and_punctuation(text: str, expected: str) -> None:
    assert normalize_for_scoring(text) == expected


def test_empty_transcript_counts_as_deletions() -> None:
    assert score([Scored("a", "eng", "one two", "")]).total.wer == 1.0


def test_empty_reference_has_no_rate_and_its_insertions_count_in_the_total() -> None:
    """Four words in the references, one substituted; three and two words beside them."""
    result = score(
        [
            Scored("a", "eng", "one two three four", "one too three four"),
            Scored("b", "eng", "", "an invented text"),
            Scored("c", "fra", "\u2014", "du texte"),
            Scored("d", "rus", "", ""),
        ]
    )
    english, french, russian = result.languages
    assert (french.wer, french.cer, french.words, french.characters) == (None, None, 0, 0)
    assert french.word_edits == Edits(0, 0, 2)
    assert french.character_edits == Edits(0, 0, len("du texte"))
    assert (russian.wer, russian.word_edits) == (None, Edits(0, 0, 0))
    assert english.word_edits == Edits(1, 0, 3)
    assert english.wer == pytest.approx(4 / 4)
    assert result.total.wer == pytest.approx(6 / 4)
    assert result.total.cer == pytest.approx((1 + len("an invented textdu texte")) / 18)
    assert result.no_reference is not None
    assert (result.no_reference.files, result.no_reference.wer) == (3, None)
    assert result.no_reference.word_edits == Edits(0, 0, 5)
    assert score([Scored("a", "eng", "one", "one")]).no_reference is None


def test_differences_are_aligned_words() -> None:
    found = differences(
        Scored("a", "eng", "One, two three four five ten", "one to three five ten six")
    )
    assert found.unit == "word"
    assert found.edits == Edits(1, 1, 1)
    assert found.alignment == (
        AlignedText("equal", "one", "one"),
        AlignedText("substitute", "two", "to"),
        AlignedText("equal", "three", "three"),
        AlignedText("delete", "four", ""),
        AlignedText("equal", "five ten", "five ten"),
        AlignedText("insert", "", "six"),
    )


def test_differences_of_a_language_without_spaces_are_characters() -> None:
    found = differences(Scored("a", "cmn-script_simplified", "今天 天气好", "今天天器很好"))
    assert found.unit == "character"
    assert found.edits == Edits(1, 0, 1)
    assert "".join(part.reference for part in found.alignment) == "今天天气好"
    assert "".join(part.hypothesis for part in found.alignment) == "今天天器很好"


@pytest.mark.parametrize(
    ("reference", "hypothesis", "kinds"),
    [("", "", []), ("", "a b", ["insert"]), ("a b", "", ["delete"]), ("a", "a", ["equal"])],
)
def test_differences_of_empty_texts(reference: str, hypothesis: str, kinds: list[str]) -> None:
    found = differences(Scored("a", "eng", reference, hypothesis))
    assert [part.kind for part in found.alignment] == kinds
    assert [part.reference for part in found.alignment if part.reference] == [reference] * (
        reference != ""
    )
