"""The table of the 1,198 codes that facebook/mms-1b-all has an adapter for."""

import functools
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("languages.tsv")
_KINDS = ("script", "dialect")


@dataclass(frozen=True, slots=True)
class Language:
    """A language, or one of its scripts or dialects, with an adapter of its own."""

    code: str
    """As MMS writes it: `eng`, `uzb-script_latin`, `roh-dialect_sursilv`."""
    name: str
    """In English, as Ethnologue has it; the same for all scripts and dialects of a language."""
    iso: str
    """The ISO 639-3 code alone."""
    script: str
    """`latin`, `cyrillic` …; empty where the code names none."""
    dialect: str
    """Empty where the code names none."""
    in_fl102: bool
    """Whether facebook/mms-1b-fl102 (the FLEURS languages) has it too."""
    by_character: bool
    """Whether it is written without spaces between words, so that recognition is scored by
    characters."""


def language_from_code(
    code: str, *, name: str = "", in_fl102: bool = False, by_character: bool = False
) -> Language:
    """Take a code apart. It need not be one of the table."""
    iso, _, variant = code.partition("-")
    kind, _, value = variant.partition("_")
    parts = {kind: value} if kind in _KINDS else {}
    return Language(
        code=code,
        name=name,
        iso=iso,
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
        language_from_code(code, name=name, in_fl102=fl102 == "1", by_character=character == "1")
        for code, name, fl102, character in rows
    )
