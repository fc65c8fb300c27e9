"""Letters of languages that are written with an alphabet, by Unicode's CLDR."""

import functools
from pathlib import Path

from mms_engine.languages import all_languages
from mms_engine.text.scripts import has_letter_of

_TABLE = Path(__file__).with_name("exemplars.tsv")


def letters_of(language: str, script: str) -> frozenset[str]:
    """Return the letters of a language in a script, with those of the foreign words it uses.

    Letters are in lower case and NFC. There are none where CLDR does not know the language, or has
    it in other scripts only, and for Chinese characters, whose lists are not complete.

    Args:
        language: Code as in MMS, or with a script, such as `swh_Latn`.
        script: ISO 15924 code.
    """
    iso = language.partition("_")[0].partition("-")[0]
    known = [one for one in all_languages() if one.iso == iso]
    tags = [tag.partition("-")[0] for one in known for tag in (one.tag, one.iso1) if tag]
    for tag in dict.fromkeys([*tags, iso]):
        for name in (f"{tag}-{script}", tag):
            letters = _table().get(name, "")
            if any(has_letter_of(letter, script) for letter in letters):
                return frozenset(letters)
    return frozenset()


@functools.cache
def _table() -> dict[str, str]:
    lines = _TABLE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines)
