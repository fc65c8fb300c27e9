"""Scripts of characters, and the tokens of a vocabulary that a language of some script uses."""

import functools
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from mms_engine.languages import all_languages
from mms_engine.text.vocabulary import BLANK, SPECIAL

_NAMES = {
    "Arab": ("ARABIC",),
    "Armn": ("ARMENIAN",),
    "Bamu": ("BAMUM",),
    "Beng": ("BENGALI",),
    "Cakm": ("CHAKMA",),
    "Cans": ("CANADIAN SYLLABICS",),
    "Cham": ("CHAM",),
    "Cher": ("CHEROKEE",),
    "Cyrl": ("CYRILLIC",),
    "Deva": ("DEVANAGARI",),
    "Ethi": ("ETHIOPIC",),
    "Geor": ("GEORGIAN",),
    "Grek": ("GREEK",),
    "Gujr": ("GUJARATI",),
    "Guru": ("GURMUKHI",),
    "Hang": ("HANGUL",),
    "Hani": ("CJK", "IDEOGRAPHIC"),
    "Hans": ("CJK", "IDEOGRAPHIC"),
    "Hant": ("CJK", "IDEOGRAPHIC"),
    "Hebr": ("HEBREW",),
    "Hira": ("HIRAGANA",),
    "Hmnp": ("NYIAKENG PUACHUE HMONG",),
    "Jpan": ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA"),
    "Kali": ("KAYAH LI",),
    "Kana": ("KATAKANA",),
    "Khmr": ("KHMER",),
    "Knda": ("KANNADA",),
    "Kore": ("HANGUL", "CJK", "IDEOGRAPHIC"),
    "Lana": ("TAI THAM",),
    "Laoo": ("LAO",),
    "Latn": ("LATIN",),
    "Lepc": ("LEPCHA",),
    "Lisu": ("LISU",),
    "Mlym": ("MALAYALAM",),
    "Mtei": ("MEETEI MAYEK",),
    "Mymr": ("MYANMAR",),
    "Nkoo": ("NKO",),
    "Olck": ("OL CHIKI",),
    "Orya": ("ORIYA",),
    "Plrd": ("MIAO",),
    "Saur": ("SAURASHTRA",),
    "Sinh": ("SINHALA",),
    "Syrc": ("SYRIAC",),
    "Tale": ("TAI LE",),
    "Talu": ("NEW TAI LUE",),
    "Taml": ("TAMIL",),
    "Tavt": ("TAI VIET",),
    "Telu": ("TELUGU",),
    "Tfng": ("TIFINAGH",),
    "Thaa": ("THAANA",),
    "Thai": ("THAI",),
    "Tibt": ("TIBETAN",),
    "Vaii": ("VAI",),
    "Yiii": ("YI",),
}
"""Beginnings of the names of a script's characters in Unicode, by ISO 15924 code."""
SCRIPTS = frozenset(_NAMES)


_TAGGED = re.compile(r"[a-z]{3}_([A-Z][a-z]{3})")
"""Code of a language with its script, as Omnilingual ASR writes it."""


@functools.cache
def written_languages() -> dict[str, str]:
    """Return the script of each language of the table whose script is known, by code."""
    known = all_languages()
    return {one.code: one.writing for one in known if one.writing in SCRIPTS}


def script_of_code(code: str) -> str:
    """Return the script of a language's code, such as `swh` or `swh_Latn`; empty if unknown."""
    tagged = _TAGGED.fullmatch(code)
    script = tagged[1] if tagged else written_languages().get(code, "")
    return script if script in SCRIPTS else ""


def tokens_of_script(
    tokens: Sequence[str], script: str, letters: Collection[str] = ()
) -> list[int]:
    """Return the ids of the tokens that a language in a script may use, in their order.

    These are special tokens, letters of the script, and what scripts share: spaces, digits,
    punctuation, marks that combine with letters of several scripts.

    Args:
        tokens: Tokens by id.
        script: ISO 15924 code, one of `SCRIPTS`.
        letters: Letters of the language, in lower case; empty for all of the script.
    """
    return [
        index
        for index, token in enumerate(tokens)
        if index == BLANK
        or token in SPECIAL
        or all(is_of_script(c, script) and not _is_foreign(c, letters) for c in token)
    ]


def _is_foreign(character: str, letters: Collection[str]) -> bool:
    """Whether a character is a letter, but not of a language, nor one that modifies others."""
    is_letter = unicodedata.category(character) in ("Ll", "Lo", "Lt", "Lu")
    return is_letter and bool(letters) and character.lower() not in letters


def is_of_script(character: str, script: str) -> bool:
    """Whether a character is one of the script, or is shared by scripts."""
    name = unicodedata.name(character, "").replace("-", " ")
    if name.startswith(_BEGINNINGS[script]):
        return True
    is_letter = unicodedata.category(character)[0] == "L" and not name.startswith("MODIFIER ")
    return not is_letter and not name.startswith(_ALL_BEGINNINGS)


def scripts_of(tokens: Iterable[str]) -> set[str]:
    """Return the scripts of which there is a letter among the tokens."""
    characters = {character for token in tokens for character in token}
    # Few names differ in their first three words, which hold the script's.
    names = {" ".join(unicodedata.name(c, "").replace("-", " ").split()[:3]) for c in characters}
    beginnings = {" ".join(name.split()[: 2 if name.startswith("CJK") else 3]) for name in names}
    return {
        script
        for script, own in _BEGINNINGS.items()
        if any(f"{name} ".startswith(own) for name in beginnings)
    }


def has_letter_of(token: str, script: str) -> bool:
    """Whether a token holds a character of the script itself."""
    return any(
        unicodedata.name(c, "").replace("-", " ").startswith(_BEGINNINGS[script]) for c in token
    )


_BEGINNINGS = {script: tuple(f"{name} " for name in names) for script, names in _NAMES.items()}
_ALL_BEGINNINGS = tuple(name for names in _BEGINNINGS.values() for name in names)
