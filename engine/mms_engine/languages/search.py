"""Search of languages by code or name."""

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence

from mms_engine.languages.table import Language, all_languages

_NO_MATCH = 9
_SEPARATORS = re.compile(r"[-_.@]")
"""Separators of a locale's parts, as in `en-US` and `en_GB.UTF-8`."""


def search(query: str, languages: Sequence[Language] | None = None) -> list[Language]:
    """Return the languages whose code or name contains every word of a query, best match first.

    Case, accents and the kind of apostrophe are ignored. A two-letter code of ISO 639-1 matches its
    language. An empty query matches all.

    Args:
        query: For example `swahili`, `uzb` or `kurdish latin`.
        languages: Languages to search; by default the whole table.
    """
    where = all_languages() if languages is None else languages
    words = _fold(query).split()
    ranked = [(_rank(words, language), language.code, language) for language in where]
    return [language for rank, _, language in sorted(ranked, key=_key) if rank < _NO_MATCH]


def _key(entry: tuple[int, str, Language]) -> tuple[int, str]:
    return entry[:2]


def _rank(words: list[str], language: Language) -> int:
    if not words:
        return 0
    code, name = _fold(language.code), _fold(language.name)
    query = " ".join(words)
    has_two_letters = query in language.iso_639_1.split()
    if not (has_two_letters or all(word in code or word in name for word in words)):
        return _NO_MATCH
    name_words = name.replace(",", " ").split()
    tests = (
        query == code,
        query == language.iso,
        has_two_letters,
        query == name,
        code.startswith(query),
        name.startswith(query),
        all(word in name_words for word in words),
        all(any(part.startswith(word) for part in name_words) for word in words),
    )
    return tests.index(True) if True in tests else len(tests)


def nearest(code: str, known: Iterable[str] | None = None, *, count: int = 5) -> list[str]:
    """Return the codes that a mistyped code may stand for, best match first.

    These are the code in another case, or else all scripts and dialects of the language of the ISO
    639-3 or 639-1 code that it begins with, as a locale does (`en-US`). Without such a language
    they are matching names, then codes of similar spelling.

    Args:
        code: Unknown code, locale or name.
        known: Candidates; by default the whole table.
        count: Maximum number of codes.
    """
    table = all_languages()
    allowed = {language.code for language in table} if known is None else set(known)
    folded = _fold(code).strip()
    same = [other for other in sorted(allowed) if _fold(other) == folded]
    same = same or _of_language(_SEPARATORS.split(folded)[0], allowed)
    if same:
        return same[:count]
    found: list[str] = []
    if len(folded) > 1:
        found += [language.code for language in search(folded, table)]
        found += _similar_names(folded, table)
    found += difflib.get_close_matches(folded, sorted(allowed), n=count, cutoff=0.5)
    return [other for other in dict.fromkeys(found) if other in allowed][:count]


def _of_language(iso: str, allowed: Iterable[str]) -> list[str]:
    two_letters = {
        language.code for language in all_languages() if iso in language.iso_639_1.split()
    }
    return [
        other for other in sorted(allowed) if other.partition("-")[0] == iso or other in two_letters
    ]


def _similar_names(name: str, table: Sequence[Language]) -> list[str]:
    codes: dict[str, list[str]] = {}
    for language in table:
        codes.setdefault(_fold(language.name), []).append(language.code)
    near = difflib.get_close_matches(name, codes, n=3, cutoff=0.75)
    return [code for other in near for code in codes[other]]


@functools.lru_cache(maxsize=4096)
def _fold(text: str) -> str:
    """Return text without case, accents and typographic apostrophes."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'"))  # noqa: RUF001
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()
