"""Words, lines, paragraphs and sentences of a text, as spans of it."""

import bisect
import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence

from mms_engine.languages.table import all_languages, language_from_code
from mms_engine.text.aligned import attaches

Span = tuple[int, int]
"""Offsets of the first character and behind the last."""

_RUN = re.compile(r"\S+")

# Blocks of Chinese characters, kana, their punctuation, Thai, Lao, Tibetan, Burmese and Khmer.
_HAN = (
    "\u2e80-\u2fdf\u3006-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WITHOUT_SPACES = re.compile(
    f"[{_HAN}\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u19e0-\u19ff]"
)
_IDEOGRAPH = re.compile(f"[{_HAN}]")
_JOINERS = "\u200d\u17d2\u1039"
"""Zero width joiner, and the signs that put the next consonant below in Khmer and Burmese."""
_REPEATING = frozenset("\u3005\u0e46\u0ec6\u17d7")
"""Signs that repeat the character or word before them: words of their own."""
_CHINESE = frozenset({"zho", "cmn", "yue", "wuu", "hak", "nan", "gan", "hsn", "cdo", "lzh"})

_READ_ALOUD = frozenset("%\u2030&@#\u00a7")
"""Punctuation that stands for a word."""
_OPENING = frozenset({"Ps", "Pi"})
_CLOSING = frozenset({"Pe", "Pf"})

_SENTENCE_TERMINAL = """
    0021 003F 0589 061D-061F 06D4 0700-0702 07F9 0837 0839 083D-083E 0964-0965 104A-104B 1362
    1367-1368 166E 1735-1736 17D4-17D5 1803 1809 1944-1945 1AA8-1AAB 1B4E-1B4F 1B5A-1B5B 1B5E-1B5F
    1B7D-1B7F 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 2CF9-2CFB 2E2E 2E3C 2E53-2E54 2E60-2E61 3002
    A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE12
    FE15-FE16 FE56-FE57 FF01 FF1F FF61"""
"""Unicode's property Sentence_Terminal (STerm of UAX 29), up to U+FFFF."""
SENTENCE_END = frozenset(
    chr(i)
    for part in _SENTENCE_TERMINAL.split()
    for i in range(int(part[:4], 16), int(part[-4:], 16) + 1)
).union(".\u2026\u055c\u055e\u0f0d\u0f0e\uff0e")
"""Marks of the end of a sentence; also the full stop, the ellipsis, and those of Armenian and
Tibetan."""
SENTENCE_END_IN = {"ell": ";\u037e", "grc": ";\u037e"}
_ABBREVIATIONS = frozenset({
    "bzw", "ca", "cf", "dr", "etc", "fig", "jr", "mme", "mr", "mrs", "ms", "no", "nr", "prof",
    "sr", "sra", "st", "str", "vol", "vs",
})  # fmt: skip
_ORDINAL_DIGITS = 2


def line_spans(text: str) -> Iterator[Span]:
    """Yield the lines of a text without the white space around them, empty ones included."""
    offset = 0
    for line in text.splitlines(keepends=True):
        start = offset + len(line) - len(line.lstrip())
        yield (start, offset + len(line.rstrip())) if line.strip() else (offset, offset)
        offset += len(line)


@functools.cache
def is_by_character(language: str) -> bool:
    """Return whether a language is written without spaces between words."""
    iso = language_from_code(language).iso
    return iso in _CHINESE or any(
        known.by_character for known in all_languages() if known.iso == iso
    )


def word_spans(text: str, line: Span, letters: Sequence[Span], *, by_character: bool) -> list[Span]:
    """Return the words of a line.

    Words are separated by white space. By character, each character of a script without spaces
    is a word, with its marks. Not separated are parts that one letter of `letters` stands for,
    such as the groups of a number; punctuation that stands alone, which joins the word before it
    (opening brackets and quotes the word behind); and, by character, marks without letters.

    Args:
        text: The whole text.
        line: Span of the line, without white space around it.
        letters: Source spans of the line's letters, in order.
        by_character: Whether to separate the characters of scripts without spaces.
    """
    runs = [match.span() for match in _RUN.finditer(text, *line)]
    parts = [p for run in runs for p in _clusters(text, run)] if by_character else runs
    joined = [False] * len(parts)
    spelled = [False] * len(parts)
    starts = [start for start, _ in parts]
    for start, end in letters:
        first = max(bisect.bisect_right(starts, start) - 1, 0)
        last = max(bisect.bisect_left(starts, end) - 1, first)
        spelled[first] = True
        for part in range(first + 1, last + 1):
            joined[part] = spelled[part] = True
    for i, (start, end) in enumerate(parts):
        if spelled[i]:
            continue
        before = i > 0 and parts[i - 1][1] == start
        behind = i + 1 < len(parts) and parts[i + 1][0] == end
        if is_silent(text[start:end]):
            leads = i == 0 or unicodedata.category(text[end - 1]) in _OPENING
            joined[i + 1 if leads and i + 1 < len(parts) else i] = True
        elif by_character and (before or behind) and _is_mark_like(text[start:end]):
            joined[i if before else i + 1] = True
    words: list[Span] = []
    for part, (start, end) in enumerate(parts):
        if joined[part] and words:
            words[-1] = words[-1][0], end
        else:
            words.append((start, end))
    return words


def _clusters(text: str, run: Span) -> Iterator[Span]:
    """Yield the parts of a run: characters of scripts without spaces, and what is between."""
    start, end = run
    for i in range(start + 1, end):
        if attaches(text[i]) or text[i - 1] in _JOINERS:
            continue
        if _is_unspaced(text[start]) or _is_unspaced(text[i]):
            yield start, i
            start = i
    yield start, end


def _is_unspaced(character: str) -> bool:
    return _WITHOUT_SPACES.match(character) is not None and not character.isdecimal()


def _is_mark_like(part: str) -> bool:
    """Return whether a part is of a script without spaces, and no ideograph or repetition."""
    return _is_unspaced(part[0]) and not _IDEOGRAPH.match(part) and _REPEATING.isdisjoint(part)


def is_silent(part: str) -> bool:
    """Return whether text is only of punctuation, marks and control characters."""
    return all(
        unicodedata.category(c)[0] in "PMCZ" and c not in _READ_ALOUD
        and unicodedata.category(c) != "Co"
        for c in part
    )  # fmt: skip


def ends_sentence(word: str, following: str, language: str) -> bool:
    """Return whether a sentence ends between two words.

    It ends behind a mark of its end and the quotes and brackets that close with it, unless the
    next word begins in lower case, or the full stop follows an initial, an abbreviation with
    full stops inside, one of a few others, or a number of one or two digits (`3. Mai`).

    Args:
        word: A word with its punctuation.
        following: The word behind it.
        language: Code of the language, as in MMS.
    """
    core = word.rstrip()
    while core and (unicodedata.category(core[-1]) in _CLOSING or core[-1] in "\"'-\u2013\u2014 "):
        core = core[:-1]
    extra = SENTENCE_END_IN.get(language_from_code(language).iso, "")
    if not core or not (core[-1] in SENTENCE_END or core[-1] in extra):
        return False
    first = next((c for c in following if c.isalpha()), "")
    if first.islower():
        return False
    stem = re.split(r"[^\w.]", core[:-1])[-1].lower()
    abbreviated = (
        (len(stem) == 1 and stem.isalpha() and stem.isascii())
        or "." in stem.strip(".")
        or stem in _ABBREVIATIONS
        or (stem.isdecimal() and len(stem) <= _ORDINAL_DIGITS)
    )
    return core[-1] != "." or not abbreviated
