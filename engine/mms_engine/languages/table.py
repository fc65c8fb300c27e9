"""Table of the 1,198 codes with an adapter in facebook/mms-1b-all."""

import functools
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("languages.tsv")
_KINDS = ("script", "dialect")


@dataclass(frozen=True, slots=True)
class Language:
    """A language, or one of its scripts or dialects, that has its own adapter."""

    code: str
    """Code as MMS writes it: `eng`, `uzb-script_latin`, `roh-dialect_sursilv`."""
    name: str
    """English name as in Ethnologue; the same for all scripts and dialects of a language."""
    iso: str
    """ISO 639-3 part of the code."""
    iso_639_1: str
    """Two-letter codes, also of the macrolanguage, separated by a space; empty for none."""
    script: str
    """Such as `latin` or `cyrillic`; empty if the code names none."""
    dialect: str
    """Empty if the code names none."""
    in_fl102: bool
    """Whether facebook/mms-1b-fl102 (the FLEURS languages) has it."""
    by_character: bool
    """Whether it is written without spaces between words, and scored by characters."""


def language_from_code(
    code: str,
    *,
    name: str = "",
    iso_639_1: str = "",
    in_fl102: bool = False,
    by_character: bool = False,
) -> Language:
    """Return the language of a code, which need not be in the table."""
    iso, _, variant = code.partition("-")
    kind, _, value = variant.partition("_")
    parts = {kind: value} if kind in _KINDS else {}
    return Language(
        code=code,
        name=name,
        iso=iso,
        iso_639_1=iso_639_1,
        script=parts.get("script", ""),
        dialect=parts.get("dialect", ""),
        in_fl102=in_fl102,
        by_character=by_character,
    )


@functools.cache
def all_languages() -> tuple[Language, ...]:
    """Return the whole table, sorted by code."""
    lines = _TABLE.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines[1:])
    return tuple(
        language_from_code(
            code,
            name=name,
            iso_639_1=iso_639_1,
            in_fl102=fl102 == "1",
            by_character=character == "1",
        )
        for code, name, fl102, character, iso_639_1 in rows
    )
