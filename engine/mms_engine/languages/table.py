"""Table of the languages of MMS: their codes for recognition, speech and identification."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

_TABLE = Path(__file__).with_name("languages.tsv")
_KINDS = ("script", "dialect")

Task = Literal["asr", "tts", "lid"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True, slots=True)
class Language:
    """A language, or one of its scripts or dialects."""

    code: str
    """Code as MMS writes it: `eng`, `uzb-script_latin`, `roh-dialect_sursilv`."""
    name: str
    """English name as in Ethnologue; the same for all scripts and dialects of a language."""
    iso: str
    """ISO 639-3 part of the code."""
    script: str
    """Such as `latin` or `cyrillic`; empty if the code names none."""
    dialect: str
    """Empty if the code names none."""
    native: str = ""
    """Name in the language itself, where Unicode's CLDR has one."""
    iso1: str = ""
    """ISO 639-1 code, of the macrolanguage if this is its main language; empty for none."""
    tag: str = ""
    """BCP 47 tag, such as `sw` for `swh` and `zh-Hans` for `cmn-script_simplified`."""
    writing: str = ""
    """ISO 15924 code of the script: that of the code, else the likely one; empty if unknown."""
    country: str = ""
    """English name of the country with most speakers, where CLDR has one."""
    macrolanguage: str = ""
    """ISO 639-3 code of the macrolanguage that contains it; empty for none."""
    macro_iso1: str = ""
    """ISO 639-1 code of the macrolanguage; empty for none."""
    in_fl102: bool = False
    """Whether facebook/mms-1b-fl102 (the FLEURS languages) has it."""
    by_character: bool = False
    """Whether it is written without spaces between words, and scored by characters."""
    tasks: tuple[Task, ...] = ()
    """Tasks with this code: an adapter of facebook/mms-1b-all, a voice of facebook/mms-tts, a label
    of facebook/mms-lid-4017."""
    in_lid126: bool = False
    """Whether facebook/mms-lid-126 has it."""


def language_from_code(code: str) -> Language:
    """Return the language of a code, which need not be in the table."""
    iso, _, variant = code.partition("-")
    kind, _, value = variant.partition("_")
    parts = {kind: value} if kind in _KINDS else {}
    script, dialect = parts.get("script", ""), parts.get("dialect", "")
    return Language(code=code, name="", iso=iso, script=script, dialect=dialect)


@functools.cache
def all_languages(task: Task | None = None) -> tuple[Language, ...]:
    """Return the table, or the languages of a task, sorted by code."""
    if task is not None:
        return tuple(language for language in all_languages() if task in language.tasks)
    lines = _TABLE.read_text(encoding="utf-8").splitlines()
    return tuple(_language(*line.split("\t")) for line in lines[1:])


def _language(code: str, *columns: str) -> Language:
    name, native, iso1, tag, writing, country, macrolanguage, macro_iso1, *flags = columns
    fl102, character, asr, tts, lid, lid126 = (flag == "1" for flag in flags)
    tasks = tuple(task for task, has in zip(TASKS, (asr, tts, lid), strict=True) if has)
    parsed = language_from_code(code)
    return Language(
        code=code,
        name=name,
        iso=parsed.iso,
        script=parsed.script,
        dialect=parsed.dialect,
        native=native,
        iso1=iso1,
        tag=tag,
        writing=writing,
        country=country,
        macrolanguage=macrolanguage,
        macro_iso1=macro_iso1,
        in_fl102=fl102,
        by_character=character,
        tasks=tasks,
        in_lid126=lid126,
    )


def codes_of_label(label: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the codes of recognition or speech for a label of language identification.

    Labels are ISO 639-3 codes without script. All scripts and dialects of the language are
    returned; if there are none, those of the languages of a macrolanguage, or of its macrolanguage.

    Args:
        label: Label of an identification model.
        known: Codes to choose from, such as the languages of a bundle.

    Returns:
        Codes, sorted; none if the language has none.
    """
    codes = sorted(known)
    macro = _macrolanguages()
    tests = (
        lambda iso: iso == label,
        lambda iso: macro.get(iso) == label,
        lambda iso: macro.get(label) == iso,
    )
    for test in tests:
        if found := tuple(code for code in codes if test(code.partition("-")[0])):
            return found
    return ()


def labels_with_codes(labels: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the labels of identification for which `codes_of_label` finds some code."""
    isos = {code.partition("-")[0] for code in known}
    macro = _macrolanguages()
    wanted = isos | {macro[iso] for iso in isos if iso in macro}
    return tuple(one for one in labels if one in wanted or macro.get(one) in isos)


@functools.cache
def _macrolanguages() -> dict[str, str]:
    """Return the macrolanguage of each ISO 639-3 code that has one."""
    return {one.iso: one.macrolanguage for one in all_languages() if one.macrolanguage}
