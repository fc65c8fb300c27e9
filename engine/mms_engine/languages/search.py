"""Search of languages by code or name."""

import difflib
import functools
import unicodedata
from collections.abc import Iterable, Sequence

from mms_engine.languages.table import Language, all_languages

_NO_MATCH = 9


def search(query: str, languages: Sequence[Language] | None = None) -> list[Language]:
    """Return the languages whose code or name contains every word of a query, best match first.

    Case, accents and the kind of apostrophe are ignored. An empty query matches all.

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
    code, name = _fold(language.code), _fold(language.name)
    if not all(word in code or word in name for word in words):
        return _NO_MATCH
    if not words:
        return 0
    query = " ".join(words)
    name_words = name.replace(",", " ").split()
    tests = (
        query == code,
        query == language.iso,
        query == name,
        code.startswith(query),
        name.startswith(query),
        all(word in name_words for word in words),
        all(any(part.startswith(word) for part in name_words) for word in words),
    )
    return tests.index(True) if True in tests else len(tests)


def nearest(code: str, known: Iterable[str] | None = None, *, count: int = 5) -> list[str]:
    """Return the codes that a mistyped code may stand for, best match first.

    Scripts and dialects of the same language come first, then matching names, then codes of
    similar spelling.

    Args:
        code: Unknown code, or a name.
        known: Candidates; by default the whole table.
        count: Maximum number of codes.
    """
    table = all_languages()
    allowed = {language.code for language in table} if known is None else set(known)
    folded = _fold(code).strip()
    iso = folded.partition("-")[0]
    found = [other for other in sorted(allowed) if other.partition("-")[0] == iso]
    if len(folded) > 1:
        found += [language.code for language in search(folded, table)]
        found += _similar_names(folded, table)
    found += difflib.get_close_matches(folded, sorted(allowed), n=count, cutoff=0.5)
    return [other for other in dict.fromkeys(found) if other in allowed][:count]


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
