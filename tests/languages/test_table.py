import hashlib
import subprocess
import sys

import pytest

from mms_engine.languages import all_languages, language_from_code, nearest, search


def codes(languages):
    return [language.code for language in languages]


# The table


def test_table_equals_the_lists_of_the_release():
    """The digest was taken when the table equalled MMS's own lists, field by field."""
    assert len(all_languages()) == 1198
    rows = "\n".join(
        f"{language.code}\t{language.name}\t{language.in_fl102:d}\t{language.by_character:d}"
        for language in all_languages()
    )
    assert hashlib.sha256(rows.encode()).hexdigest()[:16] == "def692c8f576be5a"


@pytest.mark.parametrize(
    ("code", "iso", "script", "dialect"),
    [
        ("eng", "eng", "", ""),
        ("uzb-script_latin", "uzb", "latin", ""),
        ("roh-dialect_sursilv", "roh", "", "sursilv"),
        ("xyz-something_else", "xyz", "", ""),
        ("xyz-", "xyz", "", ""),
        ("", "", "", ""),
    ],
)
def test_code_is_parsed(code, iso, script, dialect):
    language = language_from_code(code)
    assert (language.code, language.iso, language.script, language.dialect) == (
        code,
        iso,
        script,
        dialect,
    )


def test_codes_in_the_table_are_complete():
    for language in all_languages():
        assert len(language.iso) == 3
        suffix = {
            (True, False): f"-script_{language.script}",
            (False, True): f"-dialect_{language.dialect}",
            (False, False): "",
        }[bool(language.script), bool(language.dialect)]
        assert language.code == language.iso + suffix


def test_import_reads_no_file():
    code = (
        "import sys, pathlib\n"
        "pathlib.Path.read_text = lambda *_, **__: 1 / 0\n"
        "import mms_engine.languages\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Finding


@pytest.mark.parametrize(
    ("code", "codes"),
    [
        ("uzb", ["uzb-script_cyrillic", "uzb-script_latin"]),
        ("english", ["eng"]),
        ("ENG", ["eng"]),
        ("qqqqqqqq", []),
        ("", []),
    ],
)
def test_nearest_codes_of_a_mistyped_one(code, codes):
    found = nearest(code)
    assert found[: len(codes)] == codes
    assert bool(found) == bool(codes)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("eng", ["eng"]),
        ("ENG", ["eng"]),
        ("english", ["eng"]),
        ("uzb", ["uzb-script_cyrillic", "uzb-script_latin"]),
        ("uzbek LATIN", ["uzb-script_latin"]),
        ("latin kurdish", ["kmr-script_latin"]),
        ("awajun", ["agr"]),
        ("AWAJÚN", ["agr"]),
        ("Awaju\u0301n", ["agr"]),
        ("sa'a", ["apb"]),
        ("sa\u2019a", ["apb"]),
        ("mandarin", ["cmn-script_simplified"]),
        ("french", ["fra"]),
        ("dialect_sursilv", ["roh-dialect_sursilv"]),
        ("EN", ["eng"]),
        ("zh", ["cmn-script_simplified"]),
        ("sw", ["swh"]),
    ],
)
def test_search(query, first):
    assert codes(search(query))[: len(first)] == first


def test_empty_query_matches_all_in_order_and_another_may_match_none():
    assert search("") == search("  ") == list(all_languages())
    assert search("klingon") == []


def test_search_of_given_languages():
    some = [language for language in all_languages() if language.code in ("fra", "eng")]
    assert codes(search("e", some)) == ["eng", "fra"]


def test_language_is_found_by_code_and_name():
    for language in all_languages()[::9]:
        assert codes(search(language.code))[0] == language.code
        assert language in search(language.name)


@pytest.mark.parametrize(
    ("typed", "known", "first"),
    [
        ("uzb-script_arabic", None, "uzb-script_latin"),
        ("enlish", None, "eng"),
        ("Swahilli", None, "swh"),
        ("engg", None, "eng"),
        ("fr", None, "fra"),
        ("uzb", None, "uzb-script_latin"),
        ("enq", ["eng", "fra", "spa"], "eng"),
        ("french", ["eng", "fra", "spa"], "fra"),
        ("mime", ["eng", "mine"], "mine"),
    ],
)
def test_nearest_codes_to_a_misspelling(typed, known, first):
    found = nearest(typed, known) if known else nearest(typed)
    assert first in found
    assert known is None or found == [first]
    assert len(nearest(typed, count=1)) == 1


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("EN", ["eng"]),
        ("en-US", ["eng"]),
        ("en_GB.UTF-8", ["eng"]),
        ("eng_Latn", ["eng"]),
        ("Eng", ["eng"]),
        ("Uzb-Script_Latin", ["uzb-script_latin"]),
        ("uz", ["uzb-script_cyrillic", "uzb-script_latin"]),
        ("no", ["nob"]),
        ("nb", ["nob"]),
        ("pt-BR", ["por"]),
    ],
)
def test_other_case_two_letters_and_locales_lead_to_their_language_alone(typed, found):
    assert nearest(typed) == found
    assert nearest(typed, ["deu", *found]) == found


def test_two_letter_codes_are_those_of_iso_639_1():
    """Counted with pycountry and langcodes, as macrolanguages are not in ISO 639-3 itself."""
    by_code = {}
    for language in all_languages():
        for two in language.iso_639_1.split():
            assert len(two) == 2
            by_code.setdefault(two, set()).add(language.code)
    assert len(by_code) == 141
    expected = {"ar": "ara", "fa": "fas", "et": "est", "lv": "lav", "ne": "npi", "ms": "zlm"}
    assert {two: by_code[two] for two in expected} == {k: {v} for k, v in expected.items()}


def test_nearest_is_empty_without_a_similar_code():
    assert nearest("uzb", ["eng", "mine"]) == []
