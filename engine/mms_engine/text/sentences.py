"""Sentences of a text that arrives in parts, in bounded memory, with the pauses between them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mms_engine.errors import TextError
from mms_engine.languages.table import language_from_code
from mms_engine.text.aligned import attaches
from mms_engine.text.segmentation import (
    SENTENCE_END,
    SENTENCE_END_IN,
    ends_sentence,
    is_by_character,
)

LONGEST = 300
"""Longest sentence in characters; a longer one is cut at a clause, a space or anywhere."""
LONGEST_BY_CHARACTER = 120
"""The same for languages written without spaces."""
SENTENCE_PAUSE, PARAGRAPH_PAUSE, CLAUSE_PAUSE = 0.35, 0.7, 0.15
"""Seconds of silence behind a sentence, a paragraph, and a cut at a clause."""
LONGEST_BREAK = 60.0
"""Longest `<break>` in seconds."""

_CLAUSE = ",;:\u2013\u2014\u037e\u055d\u060c\u061b\u07f8\u1363\u1364\u1365\u1366\u1802\u1808\u3001\ufe50\ufe51\uff0c\uff1a\uff1b\uff64"  # noqa: E501
CLAUSE_END = frozenset(_CLAUSE)
"""Marks of the end of a clause."""
_AHEAD = 128
"""Characters behind a cut that are known when it is made, so that a `<break>` is seen whole."""
_PART = 4096
_FULL_STOPS = frozenset(".\u2024\ufe52")
_CLOSERS = "\"'\u00bb\u2019\u201d\u203a)\\]}\u300d\u300f\uff09\u3011"
_TIME = re.compile(
    r"""\s*(?:time\s*=\s*["'\u201c\u201d]?(\d{1,6}(?:\.\d{1,6})?)(ms|s)["'\u201c\u201d]?)?\s*/?"""
)
_DEFAULT_BREAK = 0.5
_NOT_TEXT = re.compile("[\ud800-\udfff\x00]")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, or a pause that the text asks for: then its text is empty."""

    text: str
    """Sentence as written, without white space at its ends."""
    start: int
    """Offset in the whole text, in code points."""
    pause: float
    """Seconds of silence behind it, if anything follows."""


def sentences(
    parts: Iterable[str], language: str, *, by_part: bool = False, longest: int | None = None
) -> Iterator[Sentence]:
    """Yield the sentences of a text as soon as their ends are known.

    A sentence ends at a mark of UAX 29's STerm or a full stop, as `ends_sentence` decides, at a
    blank line, and at `<break time="…">` (in `ms` or `s`; 0.5 s without a time). The sentences do
    not depend on where the parts are divided.

    Args:
        parts: The text, in parts of any length; joined as they are.
        language: Code of the language, as in MMS.
        by_part: Whether each part, such as a line of standard input, ends a sentence.
        longest: Longest sentence in characters; by default 300, or 120 without spaces.

    Raises:
        TextError: the text is not valid Unicode, or a `<break>` cannot be read.
    """
    splitter = SentenceSplitter(language, longest)
    for part in parts:
        yield from splitter.push(part)
        if by_part:
            yield from splitter.finish()
    yield from splitter.finish()


class SentenceSplitter:
    """Splitter of a text that arrives in parts; holds what belongs to no sentence yet."""

    def __init__(self, language: str, longest: int | None = None) -> None:
        """Begin a text; see `sentences`."""
        self._language = language
        unspaced = is_by_character(language)
        self._longest = longest or (LONGEST_BY_CHARACTER if unspaced else LONGEST)
        ends = SENTENCE_END.union(SENTENCE_END_IN.get(language_from_code(language).iso, ""))
        marks = re.escape("".join(sorted(ends | _FULL_STOPS)))
        # A break, a blank line, or marks of an end with what closes there.
        self._boundary = re.compile(
            rf"(?P<tag><break\b(?P<time>[^<>]{{0,100}})>)|(?P<blank>\n[^\S\n]*\n\s*)"
            rf"|(?P<marks>[{marks}])[{marks}]*[{_CLOSERS}]*"
        )
        self._text = ""
        self._start = 0
        self._from = 0
        """Offset in `_text` from which the next boundary is searched for."""

    def push(self, part: str) -> Iterator[Sentence]:
        """Add text, and yield the sentences whose ends are known.

        Raises:
            TextError: as for `sentences`.
        """
        for start in range(0, len(part), _PART):
            self._add(part[start : start + _PART])
            yield from self._split(final=False)

    def _add(self, part: str) -> None:
        bad = _NOT_TEXT.search(part)
        if bad:
            place = self._start + len(self._text) + bad.start()
            raise TextError(
                f"the text has U+{ord(bad.group()):04X} at character {place}, which no text may "
                "contain: is it text, and in UTF-8?"
            )
        self._text += part

    def finish(self) -> Iterator[Sentence]:
        """Yield the rest."""
        yield from self._split(final=True)
        yield from self._take(len(self._text), SENTENCE_PAUSE)

    def _split(self, *, final: bool) -> Iterator[Sentence]:
        while True:
            known = len(self._text) if final else len(self._text) - _AHEAD
            match = self._boundary.search(self._text, self._from)
            if match is None or match.start() >= self._longest:
                if known <= self._longest:
                    return
                yield from self._take(*self._cut())
            elif not final and match.end() >= known:
                return  # the boundary, or what follows, may not be whole
            elif match["tag"]:
                pause = self._seconds(match)
                yield from self._take(match.start(), 0.0)
                yield Sentence("", self._start, pause)
                self._drop(match.end() - match.start())
            elif match["blank"]:
                yield from self._take(match.end(), PARAGRAPH_PAUSE)
            elif self._ends(match):
                yield from self._take(match.end(), SENTENCE_PAUSE)
            else:
                self._from = match.end()

    def _ends(self, match: re.Match[str]) -> bool:
        """Return whether a sentence ends at marks of an end."""
        text, end = self._text, match.end()
        following = text[end : end + _AHEAD]
        if _FULL_STOPS.issuperset(match.group()) and following and not following[0].isspace():
            return False
        behind = following.lstrip()
        if behind.startswith("<break") or re.match(r"\s*\n[^\S\n]*\n", following):
            return False  # that is the boundary
        start = max(self._last_space(match.start()), end - _AHEAD)
        return ends_sentence(text[start:end], behind, self._language)

    def _last_space(self, end: int) -> int:
        return next((i for i in range(end, 0, -1) if self._text[i - 1].isspace()), 0)

    def _cut(self) -> tuple[int, float]:
        """Return where to cut a sentence that is too long, and the pause there."""
        text, longest = self._text, self._longest
        half = range(longest, longest // 2, -1)
        for i in half:
            if text[i - 1] in CLAUSE_END and (text[i].isspace() or ord(text[i - 1]) > 0xFF):
                return i, CLAUSE_PAUSE
        for i in half:
            if text[i].isspace():
                return i, 0.0
        return next((i for i in half if not attaches(text[i])), longest), 0.0

    def _take(self, end: int, pause: float) -> Iterator[Sentence]:
        """Yield the text up to `end`, if there is any, and drop it."""
        part = self._text[:end]
        start = self._start + len(part) - len(part.lstrip())
        self._drop(end)
        if part.strip():
            yield Sentence(part.strip(), start, pause)

    def _drop(self, count: int) -> None:
        self._text = self._text[count:]
        self._start += count
        self._from = 0

    def _seconds(self, match: re.Match[str]) -> float:
        found = _TIME.fullmatch(match["time"])
        seconds = -1.0
        if found:
            unit = 1000 if found[2] == "ms" else 1
            seconds = float(found[1]) / unit if found[1] else _DEFAULT_BREAK
        if not 0 <= seconds <= LONGEST_BREAK:
            raise TextError(
                f"cannot read {match.group()} at character {self._start + match.start()}: write "
                f'<break time="500ms"/> or <break time="1.5s"/>, at most {LONGEST_BREAK:g} s'
            )
        return seconds
