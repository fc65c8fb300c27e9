"""Target tokens of a text for forced alignment, with the place of each in the source."""

from dataclasses import dataclass
from typing import Literal

from mms_engine.text.vocabulary import Vocabulary

NumberPolicy = Literal["words", "star"]
"""Numbers are read out where the language's rules are known, or never."""
TextUnit = Literal["line", "sentence", "paragraph"]
"""Unit of `TargetText.lines`: lines as given, sentences, or blocks between blank lines."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A token of the vocabulary, and the characters of the source that it stands for.

    Several letters may share their characters (romanisation of one character, a number read
    out), and a character without letters (punctuation, marks) belongs to none.
    """

    token: int
    """Id in the vocabulary."""
    start: int
    """Offset in `TargetText.source` of the first character."""
    end: int
    """Offset behind the last character."""


@dataclass(frozen=True, slots=True)
class TargetWord:
    """A word as written, with its punctuation.

    Punctuation that stands alone, such as the dash in `so - then`, belongs to the word before
    it, or at the start of a line to the word behind it; so a word may contain white space.
    """

    start: int
    """Offset in `TargetText.source` of the first character."""
    end: int
    """Offset behind the last character."""
    line: int
    """Index in `TargetText.lines`."""
    letters: tuple[Letter, ...]
    """Letters in order: `start` and `end` never decrease, and lie within the word. Empty if the
    vocabulary cannot spell any of the word: it is then aligned as a star."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line, sentence or paragraph, without the white space around it; it may be empty."""

    start: int
    """Offset in `TargetText.source` of the first character."""
    end: int
    """Offset behind the last character."""
    paragraph: int
    """Index of the block of lines between blank lines that it belongs to."""


@dataclass(frozen=True, slots=True)
class TargetText:
    """A text as targets of an alignment. Offsets count code points of `source`.

    The words, in order and with the white space between them, are the whole source.
    """

    source: str
    words: tuple[TargetWord, ...]
    lines: tuple[TextLine, ...]

    def written(self, part: TargetWord | TextLine | Letter) -> str:
        """Return the characters of the source that a word, line or letter stands for."""
        return self.source[part.start : part.end]


def targets(
    text: str,
    language: str,  # noqa: ARG001
    vocabulary: Vocabulary,
    *,
    romanized: bool,  # noqa: ARG001
    numbers: NumberPolicy = "words",  # noqa: ARG001
    split: TextUnit = "line",  # noqa: ARG001
) -> TargetText:
    """Return the words of a text with the tokens to align them by.

    Args:
        text: Text as written: any script, punctuation, numbers.
        language: Code of the language, as in MMS: `eng`, `uzb-script_cyrillic`.
        vocabulary: Tokens of the emission.
        romanized: Whether the vocabulary holds romanised letters (a to z and the apostrophe, as
            of the MMS aligner) in place of the language's own.
        numbers: Treatment of numbers in digits.
        split: Unit of the lines.

    Raises:
        TextError: the text has characters that no file can hold, or is over the limits.
    """
    tokens = {token: i for i, token in enumerate(vocabulary.tokens) if vocabulary.is_text(i)}
    words: list[TargetWord] = []
    lines: list[TextLine] = []
    offset, paragraph, blank = 0, -1, True
    for line in text.splitlines(keepends=True) or [""]:
        stripped = line.strip()
        paragraph += bool(stripped) and blank
        blank = not stripped
        start = offset + line.find(stripped) if stripped else offset
        index = len(lines)
        lines.append(TextLine(start, start + len(stripped), max(paragraph, 0)))
        position = start
        for word in stripped.split():
            position = text.index(word, position)
            words.append(_word(word, position, index, tokens))
            position += len(word)
        offset += len(line)
    return TargetText(text, tuple(words), tuple(lines))


def _word(word: str, start: int, line: int, tokens: dict[str, int]) -> TargetWord:
    letters = tuple(
        Letter(tokens[character.lower()], start + i, start + i + 1)
        for i, character in enumerate(word)
        if character.lower() in tokens
    )
    return TargetWord(start, start + len(word), line, letters)
