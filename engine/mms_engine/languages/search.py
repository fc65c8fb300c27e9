"""Search of languages by code or name."""

import difflib
import functools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from mms_engine.errors import LanguageError
from mms_engine.languages.table import Language, all_languages, language_from_code

_NO_MATCH = 9


def search(query: str, languages: Sequence[Language] | None = None) -> list[Language]:
    """Return the languages with every word of a query in their codes or names, best match first.

    Codes are those of MMS, ISO 639-1, ISO 639-3 and BCP 47; names are English and native, and
    countries. Case, accents and the kind of apostrophe are ignored. An empty query matches all.

    Args:
        query: For example `swahili`, `Kiswahili`, `uz`, `kurdish latin` or `tanzania`.
        languages: Languages to search; by default those of speech recognition.
    """
    where = all_languages("asr") if languages is None else languages
    words = _fold(query).split()
    ranked = [(_rank(words, language), language.code, language) for language in where]
    return [language for rank, _, language in sorted(ranked, key=_key) if rank < _NO_MATCH]


def _key(entry: tuple[int, str, Language]) -> tuple[int, str]:
    return entry[:2]


def _rank(words: list[str], language: Language) -> int:
    code, name = _fold(language.code), _fold(language.name)
    native = _fold(language.native)
    others = (language.iso1, _fold(language.tag), _fold(language.country))
    if not all(word in code or word in name or word in native or word in others for word in words):
        return _NO_MATCH
    if not words:
        return 0
    query = " ".join(words)
    name_words = name.replace(",", " ").split()
    tests = (
        query == code,
        query in (language.iso, language.iso1, _fold(language.tag)),
        query in (name, native),
        code.startswith(query),
        name.startswith(query),
        all(word in name_words for word in words),
        all(any(part.startswith(word) for part in name_words) for word in words),
    )
    return tests.index(True) if True in tests else len(tests)


def resolve(query: str, known: Iterable[str] | None = None) -> str:
    """Return the code of the one language that a code, tag or name stands for.

    Understood are codes of MMS in any case, ISO 639-1 and 639-3 codes, macrolanguages, BCP 47 tags
    with script or region, and English and native names.

    Args:
        query: For example `swh`, `sw`, `swa`, `Swahili`, `Kiswahili`, `sw-KE` or `sr-Latn`.
        known: Codes to choose from; by default those of speech recognition.

    Raises:
        LanguageError: it is empty, or stands for none or several of the codes; the message names
            the nearest.
    """
    allowed = _known(known)
    found = candidates(query, allowed)
    if len(found) == 1:
        return found[0]
    if found:
        raise LanguageError(f"{query!r} stands for {', '.join(found)}: choose one")
    near = ", ".join(nearest(query, allowed, count=3))
    hint = f": did you mean {near}?" if near else ""
    raise LanguageError(f"no language {query!r}{hint}")


def candidates(query: str, known: Iterable[str] | None = None) -> list[str]:
    """Return the codes that a code, tag or name stands for: one, none, or several to choose from.

    Args:
        query: See `resolve`.
        known: Codes to choose from; by default those of speech recognition.
    """
    readings = _readings(_fold(query).strip(), _known(known))
    return next(filter(None, readings), [])


def _known(known: Iterable[str] | None) -> dict[str, Language]:
    """Return language by code; languages outside the table have their code alone."""
    table = _by_code()
    codes = [one.code for one in all_languages("asr")] if known is None else sorted(known)
    return {code: table.get(code) or language_from_code(code) for code in codes}


@functools.cache
def _by_code() -> dict[str, Language]:
    return {language.code: language for language in all_languages()}


def _readings(query: str, allowed: dict[str, Language]) -> Iterator[list[str]]:
    """Yield the codes that a folded query matches, from the strictest reading to the loosest."""
    if not query:
        return
    yield [code for code in allowed if _fold(code) == query]
    language, *subtags = query.replace("_", "-").split("-")
    languages = allowed.values()
    readings = (
        [one for one in languages if language == one.iso1],
        [one for one in languages if language == one.iso],
        [one for one in languages if language in (one.macrolanguage, one.macro_iso1)],
    )
    candidates = next(filter(None, readings), [])
    scripts = [one for one in candidates if one.writing.casefold() in subtags]
    has_script = any(len(subtag) == len("latn") for subtag in subtags)
    yield [one.code for one in (scripts if has_script else candidates)]
    yield [one.code for one in languages if query.replace("_", "-") == _fold(one.tag)]
    yield [code for code, one in allowed.items() if query in (_fold(one.name), _fold(one.native))]


def nearest(code: str, known: Iterable[str] | None = None, *, count: int = 5) -> list[str]:
    """Return the codes that a mistyped code may stand for, best match first.

    Scripts and dialects of the same language come first, then matching names, then codes of
    similar spelling.

    Args:
        code: Unknown code, or a name.
        known: Candidates; by default the languages of speech recognition.
        count: Maximum number of codes.
    """
    languages = _known(known)
    table, allowed = list(languages.values()), set(languages)
    folded = _fold(code).strip()
    language = folded.replace("_", "-").partition("-")[0]
    found = [one.code for one in table if language and language in _language_codes(one)]
    if len(folded) > 1:
        found += [language.code for language in search(folded, table)]
        found += _similar_names(folded, table)
    found += difflib.get_close_matches(folded, sorted(allowed), n=count, cutoff=0.5)
    return [other for other in dict.fromkeys(found) if other in allowed][:count]


def _language_codes(language: Language) -> tuple[str, ...]:
    """Return the codes of a language without its script, those of its macrolanguage included."""
    return (language.iso, language.iso1, language.macrolanguage, language.macro_iso1)


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
