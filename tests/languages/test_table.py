import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from mms_engine.languages import all_languages, find, language_from_code, nearest, search

SOURCES = Path(__file__).parents[3] / "shared" / "data" / "langs"


def codes(languages):
    return [language.code for language in languages]


def lines(name):
    path = SOURCES / name
    if not path.is_file():
        pytest.skip(f"the list {name} that the table was made from is not on this machine")
    return path.read_text(encoding="utf-8").splitlines()


# The table


def test_size_and_order():
    table = all_languages()
    assert len(table) == 1198
    assert codes(table) == sorted(set(codes(table)))
    assert len({language.iso for language in table}) == 1159
    assert sum(language.in_fl102 for language in table) == 102


def test_codes_and_names_are_those_of_the_source():
    assert [f"{language.code}\t{language.name}" for language in all_languages()] == sorted(
        lines("asr_mms1b_all_codes.tsv")
    )


def test_fl102_codes_are_those_of_the_source():
    expected = sorted(line.split("\t")[0] for line in lines("asr_mms1b_fl102_codes.tsv"))
    assert codes(language for language in all_languages() if language.in_fl102) == expected


def test_languages_scored_by_characters_are_those_of_the_source():
    expected = set(lines("cer_langs_fairseq.txt"))
    assert {language.iso for language in all_languages() if language.by_character} == expected


def test_table_is_unchanged():
    """Holds where the sources are not at hand."""
    rows = "\n".join(f"{language.code}\t{language.name}" for language in all_languages())
    assert hashlib.sha256(rows.encode()).hexdigest()[:16] == "dc0517179feeea52"


def test_every_name_is_clean():
    for language in all_languages():
        assert language.name == " ".join(language.name.split()) != ""


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
def test_codes_are_taken_apart(code, iso, script, dialect):
    language = language_from_code(code)
    assert (language.code, language.iso, language.script, language.dialect) == (
        code,
        iso,
        script,
        dialect,
    )


def test_table_codes_are_whole():
    for language in all_languages():
        assert len(language.iso) == 3
        suffix = {
            (True, False): f"-script_{language.script}",
            (False, True): f"-dialect_{language.dialect}",
            (False, False): "",
        }[bool(language.script), bool(language.dialect)]
        assert language.code == language.iso + suffix


def test_importing_reads_nothing():
    code = (
        "import sys, pathlib\n"
        "pathlib.Path.read_text = lambda *_, **__: 1 / 0\n"
        "import mms_engine.languages\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Finding


def test_find_by_code():
    assert find("swh").name == "Swahili"
    assert find("cmn-script_simplified").by_character


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("uzb", "MMS has no language 'uzb': did you mean uzb-script_cyrillic, uzb-script_latin, "),
        ("english", "MMS has no language 'english': did you mean eng, "),
        ("ENG", "MMS has no language 'ENG': did you mean eng, "),
        ("qqqqqqqq", "MMS has no language 'qqqqqqqq': mms languages lists them all"),
        ("", "MMS has no language '': mms languages lists them all"),
    ],
)
def test_find_says_what_was_perhaps_meant(code, message):
    from mms_engine.errors import LanguageError

    with pytest.raises(LanguageError) as caught:
        find(code)
    assert str(caught.value).startswith(message)


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
    ],
)
def test_search(query, first):
    assert codes(search(query))[: len(first)] == first


def test_search_without_a_query_gives_all_in_order():
    assert search("") == list(all_languages())
    assert search("  ") == list(all_languages())


def test_search_without_a_match():
    assert search("klingon") == []


def test_search_among_some():
    some = [find("fra"), find("eng")]
    assert codes(search("e", some)) == ["eng", "fra"]


def test_languages_are_found_by_its_code_and_its_name():
    for language in all_languages()[::9]:
        assert codes(search(language.code))[0] == language.code
        assert language in search(language.name)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("uzb", "uzb-script_latin"),
        ("uzb-script_arabic", "uzb-script_latin"),
        ("enlish", "eng"),
        ("Swahilli", "swh"),
        ("engg", "eng"),
        ("fr", "fra"),
    ],
)
def test_nearest(typed, expected):
    assert expected in nearest(typed)


def test_nearest_among_known():
    assert nearest("enq", ["eng", "fra", "spa"]) == ["eng"]
    assert nearest("french", ["eng", "fra", "spa"]) == ["fra"]
    assert nearest("uzb", ["eng", "mine"]) == []
    assert nearest("mime", ["eng", "mine"]) == ["mine"]
    assert len(nearest("a", count=2)) <= 2
