"""Build `languages.tsv` from the published lists of MMS and from CLDR and ISO 639-3.

    pip install langcodes language_data python-iso639
    python tools/build_languages.py LISTS > engine/mms_engine/languages/languages.tsv

LISTS is a folder with the lists of the MMS releases, each line a code, a tab and a name:
`asr_mms1b_all_codes.tsv`, `asr_mms1b_fl102_codes.tsv`, `tts_codes.tsv` (whose second column is the
code), `lid_l4017_codes_sorted.tsv`, `lid_l126_id_order.tsv` (second column), and the languages
scored by characters, `cer_langs_fairseq.txt`.
"""

import csv
import sys
from pathlib import Path

import iso639
import langcodes
from langcodes.data_dicts import LIKELY_SUBTAGS

COLUMNS = (
    *("code", "name", "native", "iso1", "tag", "writing", "country", "macro", "macro1"),
    *("fl102", "by_character", "asr", "tts", "lid", "lid126"),
)
WRITING = {
    "arabic": "Arab",
    "cyrillic": "Cyrl",
    "devanagari": "Deva",
    "ethiopic": "Ethi",
    "khmer": "Khmr",
    "latin": "Latn",
    "simplified": "Hans",
    "syllabics": "Cans",
    "telugu": "Telu",
    "tifinagh": "Tfng",
    "traditional": "Hant",
}
"""ISO 15924 codes of the scripts that MMS names."""
WRONG_COUNTRY = {"zlm": "MY"}
"""Corrections to CLDR's likely subtags."""
MAIN = {"zlm": "ms"}
"""Languages that MMS names by the name of their macrolanguage, where CLDR prefers another."""
MEMBER = ("fl102", "character", "asr", "tts", "lid", "lid126")
UNASSIGNED = "xdn"
"""Label of the identification models that ISO 639-3 does not have."""


def read(path: Path, column: int = 0) -> dict[str, str]:
    """Return name by code."""
    with path.open(encoding="utf-8") as stream:
        rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row[column]: row[-1] for row in rows}


def native_name(iso: str) -> str:
    """Return the language's own name, or nothing where CLDR has none."""
    language = langcodes.Language.get(iso)
    name: str = language.autonym()
    return "" if name in {iso, language.display_name(), language.language} else name


def likely(tag: langcodes.Language) -> tuple[str, str]:
    """Return the likely script (ISO 15924) and the English name of the country, or nothing."""
    known = LIKELY_SUBTAGS.get(tag.language)
    if known is None:
        return "", ""
    maximized = langcodes.Language.get(known, normalize=False)
    region = WRONG_COUNTRY.get(tag.language, maximized.territory)
    country = "" if region in {None, "ZZ", "001"} else langcodes.Language.make(territory=region)
    return maximized.script or "", country.territory_name() if country else ""


def row(code: str, name: str, lists: dict[str, dict[str, str]]) -> list[str]:
    """Return the columns of a code."""
    iso, _, variant = code.partition("-")
    kind, _, value = variant.partition("_")
    # BCP 47 writes the macrolanguage of its main language: sw for swh, zh for cmn.
    tag = langcodes.Language.get(iso).prefer_macrolanguage()
    script, country = likely(tag)
    found = iso639.Language.match(iso) if iso != UNASSIGNED else None
    named = WRITING[value] if kind == "script" else ""
    iso1 = MAIN.get(iso, tag.language if len(tag.language) == len("en") else "")
    facts = [name.replace("None", ""), native_name(iso), iso1]
    facts += ["-".join(filter(None, [tag.language, named])), named or script, country]
    macro = (found.macrolanguage if found else None) or ""
    macro1 = iso639.Language.match(macro).part1 or "" if macro else ""
    member = [str(int((iso if key == "character" else code) in lists[key])) for key in MEMBER]
    return [code, *facts, macro, macro1, *member]


def main(folder: Path) -> None:
    """Write the table to standard output."""
    lists = {
        "asr": read(folder / "asr_mms1b_all_codes.tsv"),
        "fl102": read(folder / "asr_mms1b_fl102_codes.tsv"),
        "tts": read(folder / "tts_codes.tsv", 1),
        "lid": read(folder / "lid_l4017_codes_sorted.tsv"),
        "lid126": read(folder / "lid_l126_id_order.tsv", 1),
        "character": read(folder / "cer_langs_fairseq.txt"),
    }
    names = {**lists["lid126"], **lists["lid"], **lists["tts"], **lists["asr"]}
    rows = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
    rows.writerow(COLUMNS)
    rows.writerows(row(code, names[code], lists) for code in sorted(names))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
