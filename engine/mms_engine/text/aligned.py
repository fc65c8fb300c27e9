"""Text that keeps, for each of its characters, the span of the source it came from."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Edit = tuple[int, int, str]
"""Replacement of the characters from a start up to an end by other text."""


@dataclass(frozen=True, slots=True)
class AlignedText:
    """Text and the source offsets of its characters, in code points.

    A character may stand for several characters of the source, and several characters may stand
    for the same ones; starts and ends never decrease.
    """

    text: str
    starts: Sequence[int]
    """Offset in the source of the first character that each character stands for."""
    ends: Sequence[int]
    """Offset behind the last one."""

    @classmethod
    def from_source(cls, source: str, offset: int = 0) -> "AlignedText":
        """Return text as it is, at an offset of its source."""
        end = offset + len(source)
        return cls(source, range(offset, end), range(offset + 1, end + 1))

    def __getitem__(self, part: slice) -> "AlignedText":
        return AlignedText(self.text[part], self.starts[part], self.ends[part])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the source span of the characters from `start` up to `end` (not empty)."""
        return self.starts[start], self.ends[end - 1]

    def edit(self, edits: Iterable[Edit]) -> "AlignedText":
        """Return the text with replacements made.

        Each new character stands for the source of all characters that it replaces, unless both
        are of one length: then character by character.

        Args:
            edits: In order, without overlap, none of an empty span.
        """
        texts: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        done = 0
        for start, end, new in edits:
            keep = slice(done, end if len(new) == end - start else start)
            texts += (self.text[done:start], new)
            starts += self.starts[keep]
            ends += self.ends[keep]
            if len(new) != end - start:
                first, last = self.span(start, end)
                starts += [first] * len(new)
                ends += [last] * len(new)
            done = end
        if not texts:
            return self
        texts.append(self.text[done:])
        starts += self.starts[done:]
        ends += self.ends[done:]
        return AlignedText("".join(texts), starts, ends)

    def sub(self, pattern: re.Pattern[str], new: str) -> "AlignedText":
        """Return the text with each match of a pattern replaced."""
        return self.edit((*match.span(), new) for match in pattern.finditer(self.text))

    def delete(self, unwanted: Callable[[str], bool]) -> "AlignedText":
        """Return the text without the characters for which a condition holds."""
        return self.edit((i, i + 1, "") for i, c in enumerate(self.text) if unwanted(c))

    def translate(self, table: dict[int, str]) -> "AlignedText":
        """Return the text with characters replaced by one character each."""
        return AlignedText(self.text.translate(table), self.starts, self.ends)

    def lower(self) -> "AlignedText":
        """Return the text in lower case, the final sigma included."""
        lowered = self.text.lower()
        if len(lowered) == len(self.text):
            return AlignedText(lowered, self.starts, self.ends)
        return self.edit(_lower_edits(self.text, lowered))

    def normalize(self, form: Literal["NFC", "NFKC"]) -> "AlignedText":
        """Return the text in a normalisation form of Unicode."""
        if unicodedata.is_normalized(form, self.text):
            return self
        return self.edit(_normalization_edits(form, self.text))


def _lower_edits(text: str, lowered: str) -> Iterable[Edit]:
    """Return the edits that lower text, whose length differs in lower case."""
    done = 0
    for i, character in enumerate(text):
        end = done + len(character.lower())
        if lowered[done:end] != character:
            yield i, i + 1, lowered[done:end]
        done = end


def _normalization_edits(form: Literal["NFC", "NFKC"], text: str) -> Iterable[Edit]:
    """Return the edits that normalise text, each of a run that others cannot combine with."""
    start = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and attaches(text[end]) and not text[end - 1].isspace():
            continue
        run = text[start:end]
        if not unicodedata.is_normalized(form, run):
            yield start, end, unicodedata.normalize(form, run)
        start = end


def attaches(character: str) -> bool:
    """Return whether normalisation may combine or reorder a character with the one before."""
    if character.isascii():
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    return (
        unicodedata.combining(first) != 0
        or unicodedata.category(first).startswith("M")
        or "\u1160" <= first <= "\u11ff"  # vowels and final consonants of Hangul
    )
