"""Error rates, compared with hand-counted ones."""

import pytest

from mms_engine.asr.scoring import Scored, normalize_for_scoring, score


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
