"""Letters of languages, and the tokens that are left of a vocabulary of many."""

import pytest

from mms_engine.text.exemplars import letters_of
from mms_engine.text.scripts import tokens_of_script

TOKENS = ("<s>", "<pad>", " ", "'", "ʼ", "1", "a", "ñ", "ş", "ђ", "ж", "я", "ъ", "\u0301", "字")


@pytest.mark.parametrize(
    ("language", "script", "text"),
    [
        ("swh", "Latn", "a"),
        ("tur", "Latn", "ş"),
        ("uzb-script_cyrillic", "Cyrl", "ғқҳў"),
        ("uzb_Cyrl", "Cyrl", "ғқҳў"),
        ("srp", "Cyrl", "ђљњ"),
        ("srp-script_latin", "Latn", "đšž"),
        ("zlm", "Latn", "a"),
        ("yor_Latn", "Latn", "ẹọṣ"),
        ("hin", "Deva", "अआ"),
    ],
)
def test_letters_are_those_of_the_language_in_the_script(language, script, text):
    assert set(text) <= letters_of(language, script)


@pytest.mark.parametrize(
    ("language", "script"),
    [("swh", "Arab"), ("cmn", "Hans"), ("jpn", "Jpan"), ("xyz", "Latn"), ("zzz_Latn", "Latn")],
)
def test_languages_that_cldr_does_not_know_have_no_letters_of_their_own(language, script):
    assert letters_of(language, script) == frozenset()


def test_tokens_are_special_ones_shared_ones_and_letters_of_the_language():
    def left(language, script):
        rows = tokens_of_script(TOKENS, script, letters_of(language, script))
        return "".join(TOKENS[row] for row in rows)

    shared = "<s><pad> 'ʼ1"
    assert left("swh", "Latn") == f"{shared}a\u0301"
    assert left("tur", "Latn") == f"{shared}añş\u0301"
    assert left("rus", "Cyrl") == f"{shared}жяъ\u0301"
    assert left("srp", "Cyrl") == f"{shared}ђж\u0301"
    assert left("cmn", "Hans") == f"{shared}\u0301字"
    assert left("xyz", "Latn") == f"{shared}añş\u0301"
