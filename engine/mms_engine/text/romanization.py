"""Romanisation by uroman, with source offsets. Needs the extra `[align]` or `[tts]`.

The package is MIT-like; its licence asks publications to acknowledge it: see NOTICE.
"""

import functools
import importlib
import re
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from mms_engine.errors import MmsError
from mms_engine.languages.table import language_from_code
from mms_engine.text.aligned import AlignedText, Edit, attaches

LANGUAGE_RULES = frozenset({
    "ara", "bel", "bul", "deu", "ell", "eng", "fas", "grc", "heb", "kaz", "kir", "lav", "lit",
    "mkd", "mkd2", "oss", "pnt", "pus", "rus", "srp", "srp2", "tur", "uig", "ukr", "yid",
})  # fmt: skip
"""Languages for which fairseq has uroman apply their own rules."""

_MAX_RUN = 1000
"""Longest run without white space, in characters, that is romanised in one piece: uroman's time
grows with the square of a run of numerals."""
_MAX_MARKS = 32
_RUN = re.compile(r"\S+")
_PLAIN = re.compile(r"[a-z'-]*")
"""Runs that uroman has no rule for, in any language."""

_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Edge:
    """Characters of a run and their romanisation, as in uroman's lattice."""

    start: int
    end: int
    txt: str
    type: str | None = None


def romanize(
    text: AlignedText, language: str, *, rules: bool = True, digits: Collection[str] = ()
) -> AlignedText:
    """Return text in Latin letters.

    Runs between white space are romanised one by one, and each distinct run once: uroman's rules
    do not reach across white space. Characters that spell a number, such as Chinese numerals,
    get their readings, where uroman writes the number in digits.

    Args:
        text: Normalised text.
        language: Code of the language, as in MMS; its own rules are used where fairseq does.
        rules: Whether the language's own rules are used; transformers never does.
        digits: Digits in which numbers may be written, as uroman does, in place of readings.

    Raises:
        MmsError: uroman is not installed.
    """
    iso = language_from_code(language).iso
    code = iso if rules and iso in LANGUAGE_RULES else None
    return text.edit(_edits(text.text, code, frozenset(digits)))


def _edits(text: str, code: str | None, digits: frozenset[str]) -> Iterator[Edit]:
    for match in _RUN.finditer(text):
        for start, end in _pieces(match.group()):
            offset = match.start() + start
            for edge in _edges(match.group()[start:end], code, digits):
                yield offset + edge.start, offset + edge.end, edge.txt


def _pieces(run: str) -> Iterator[tuple[int, int]]:
    start = 0
    while len(run) - start > _MAX_RUN:
        end = start + _MAX_RUN
        end = next((i for i in range(end, end - _MAX_MARKS, -1) if not attaches(run[i])), end)
        yield start, end
        start = end
    yield start, len(run)


@functools.lru_cache(maxsize=1 << 15)
def _edges(run: str, code: str | None, digits: frozenset[str]) -> tuple[_Edge, ...]:
    """Return the edges that change a run, in order."""
    if _PLAIN.fullmatch(run):
        return ()
    edges = _lattice(run, code, "EDGES")
    if any(
        _is_number(edge)
        and not run[edge.start : edge.end].isdecimal()
        and not digits.issuperset(c for c in edge.txt if c.isdecimal())
        for edge in edges
    ):
        edges = _readings(_lattice(run, code, "LATTICE"), len(run))
    return tuple(edge for edge in edges if edge.txt != run[edge.start : edge.end])


def _is_number(edge: _Edge) -> bool:
    return any(map(str.isdecimal, edge.txt))


def _readings(lattice: Iterable[_Edge], length: int) -> list[_Edge]:
    """Return the best path through a lattice without its numbers: the longest edges first."""
    longest: dict[int, _Edge] = {}
    for edge in lattice:
        best = longest.get(edge.start)
        alternative = (edge.type or "").startswith("rom-alt")
        if not alternative and not _is_number(edge) and (best is None or best.end < edge.end):
            longest[edge.start] = edge
    path: list[_Edge] = []
    position = 0
    while position < length:
        edge = longest.get(position) or _Edge(position, position + 1, "")
        path.append(edge)
        position = edge.end
    return path


def _lattice(run: str, code: str | None, form: str) -> list[_Edge]:
    with _lock:  # it keeps caches in plain dictionaries
        package, romanizer = _uroman()
        rom_format = getattr(package.RomFormat, form)
        edges = romanizer.romanize_string(run, lcode=code, rom_format=rom_format)
    return [_Edge(edge.start, edge.end, edge.txt, edge.type) for edge in edges]


@functools.cache
def _uroman() -> tuple[Any, Any]:
    """Return the package and its romaniser, which takes seconds to build."""
    try:
        package = cast("Any", importlib.import_module("uroman"))
    except ImportError as error:
        raise MmsError(
            "romanisation needs the package uroman: pip install 'mms-engine[align]'"
        ) from error
    return package, package.Uroman()
