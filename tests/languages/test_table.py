import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mms_engine.errors import LanguageError
from mms_engine.languages import (
    TASKS,
    all_languages,
    codes_of_label,
    labels_with_codes,
    language_from_code,
    nearest,
    resolve,
    search,
)


def codes(languages):
    return [language.code for language in languages]


# The table


def test_table_equals_the_lists_of_the_release():
    """The digest was taken when the table equalled MMS's own lists, field by field."""
    assert len(all_languages("asr")) == 1198
    rows = "\n".join(
        f"{language.code}\t{language.name}\t{language.in_fl102:d}\t{language.by_character:d}"
        for language in all_languages("asr")
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
        assert language.tasks
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


def test_counts_are_those_of_the_published_models():
    counts = {task: len(all_languages(task)) for task in TASKS}
    assert counts == {"asr": 1198, "tts": 1143, "lid": 4017}
    assert sum(language.in_lid126 for language in all_languages("lid")) == 126


def test_every_label_resolves_to_codes_of_its_language_or_to_none():
    for task, with_codes in (("asr", 1155), ("tts", 1106)):
        known = {language.code: language for language in all_languages(task)}
        found = {label.code: codes_of_label(label.code, known) for label in all_languages("lid")}
        assert sum(bool(codes) for codes in found.values()) == with_codes
        for label, matches in found.items():
            for code in matches:
                language = known[code]
                assert label in (language.iso, language.macrolanguage)
        assert {code for codes in found.values() for code in codes} >= {
            code for code, language in known.items() if language.iso in found
        }


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("swh", ("swh",)),
        ("uzb", ("uzb-script_cyrillic", "uzb-script_latin")),
        ("srp", ("srp-script_cyrillic", "srp-script_latin")),
        ("aze", ("azb", "azj-script_cyrillic", "azj-script_latin")),
        ("cmn", ("cmn-script_simplified",)),
        ("haw", ()),
        ("xdn", ()),
        ("", ()),
    ],
)
def test_codes_of_a_label(label, expected):
    assert codes_of_label(label, [language.code for language in all_languages("asr")]) == expected


def test_label_resolves_within_a_bundle():
    assert codes_of_label("uzb", ["eng", "uzb-script_latin"]) == ("uzb-script_latin",)
    assert codes_of_label("zlm", ["msa", "eng"]) == ("msa",)


@pytest.mark.parametrize("name", ["asr_mms1b_all_codes", "tts_codes", "lid_l4017_codes_sorted"])
def test_codes_equal_the_published_lists(name):
    path = Path(__file__).parents[3] / "shared" / "data" / "langs" / f"{name}.tsv"
    if not path.exists():
        pytest.skip("the published lists are not beside the checkout")
    task = name.partition("_")[0]
    column = 1 if task == "tts" else 0
    lines = path.read_text(encoding="utf-8").splitlines()
    codes = {line.split("\t")[column] for line in lines}
    assert codes == {language.code for language in all_languages(task)}


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
        ("Kiswahili", ["swh"]),
        ("sw", ["swh"]),
        ("zh-hans", ["cmn-script_simplified"]),
        ("dialect_sursilv", ["roh-dialect_sursilv"]),
    ],
)
def test_search(query, first):
    assert codes(search(query))[: len(first)] == first


def test_search_by_country():
    assert {"swh", "asa"} <= set(codes(search("Tanzania")))


def test_empty_query_matches_all_in_order_and_another_may_match_none():
    assert search("") == search("  ") == list(all_languages("asr"))
    assert search("klingon") == []


def test_search_of_given_languages():
    some = [language for language in all_languages("asr") if language.code in ("fra", "eng")]
    assert codes(search("e", some)) == ["eng", "fra"]


def test_language_is_found_by_code_and_name():
    for language in all_languages("asr")[::9]:
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
    ("query", "code"),
    [
        ("sw", "swh"),
        ("swa", "swh"),
        ("swh", "swh"),
        ("SWH", "swh"),
        ("Swahili", "swh"),
        ("Kiswahili", "swh"),
        ("sw-KE", "swh"),
        ("sr-Latn", "srp-script_latin"),
        ("sr_Latn_RS", "srp-script_latin"),
        ("English", "eng"),
        ("en-US", "eng"),
        ("zh", "cmn-script_simplified"),
        ("zh-Hans", "cmn-script_simplified"),
        ("fil", "tgl"),
        ("ms", "zlm"),
        ("中文", "cmn-script_simplified"),
        ("uzb-script_latin", "uzb-script_latin"),
    ],
)
def test_code_of_any_system_is_resolved(query, code):
    assert resolve(query) == code


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "no language ''"),
        ("zh-Hant", "no language 'zh-Hant': did you mean cmn-script_simplified, "),
        ("uz", "'uz' stands for uzb-script_cyrillic, uzb-script_latin: choose one"),
        ("no", "'no' stands for nno, nob: choose one"),
        ("swahilli", "no language 'swahilli': did you mean swh"),
        ("en-Cyrl", "no language 'en-Cyrl': did you mean eng"),
    ],
)
def test_unresolved_code_is_an_error_with_the_nearest(query, message):
    with pytest.raises(LanguageError, match=re.escape(message)):
        resolve(query)


def test_code_resolves_within_a_bundle():
    assert resolve("uz", ["eng", "uzb-script_latin"]) == "uzb-script_latin"
    assert resolve("mine", ["eng", "mine"]) == "mine"
    with pytest.raises(LanguageError, match="no language 'fra'"):
        resolve("fra", ["eng"])


def test_nearest_is_empty_without_a_similar_code():
    assert nearest("uzb", ["eng", "mine"]) == []


def test_labels_with_codes_are_those_for_which_codes_are_found() -> None:
    labels = [*[one.code for one in all_languages("lid")][::40], "cmn", "zho", "srp", "swa", "swh"]
    known = [*[one.code for one in all_languages("asr")][::10], "cmn-script_simplified", "swh"]
    wanted = tuple(label for label in labels if codes_of_label(label, known))
    assert 0 < len(wanted) < len(labels)
    assert labels_with_codes(labels, known) == wanted
