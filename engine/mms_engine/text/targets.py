"""Target tokens of a text for forced alignment, with the place of each in the source."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mms_engine.errors import TextError
from mms_engine.text.aligned import AlignedText
from mms_engine.text.normalization import normalize
from mms_engine.text.numbers import read_numbers
from mms_engine.text.romanization import romanize
from mms_engine.text.segmentation import (
    Span,
    ends_sentence,
    is_by_character,
    line_spans,
    word_spans,
)
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import NumberPolicy, TextUnit

MAX_CHARACTERS = 5_000_000
"""Longest text in characters: a Bible, or 90 hours of speech."""


_ROMANIZED = frozenset("abcdefghijklmnopqrstuvwxyz'")
_APOSTROPHES = frozenset("\u2018\u2019\u201b\u02bc\u02bb`\u00b4")
_NOT_TEXT = re.compile("[\ud800-\udfff\x00]")


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
    language: str,
    vocabulary: Vocabulary,
    *,
    romanized: bool,
    numbers: NumberPolicy = "words",
    split: TextUnit = "line",
) -> TargetText:
    """Return the words of a text with the tokens to align them by.

    Languages written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) have
    characters as words.

    Args:
        text: Text as written: any script, punctuation, numbers.
        language: Code of the language, as in MMS: `eng`, `uzb-script_cyrillic`.
        vocabulary: Tokens of the emission.
        romanized: Whether the vocabulary holds romanised letters (a to z and the apostrophe, as
            of the MMS aligner) in place of the language's own.
        numbers: Treatment of numbers in digits. As fairseq does, romanised text in parentheses
            that contain digits which are not read out has no letters.
        split: Unit of the lines.

    Raises:
        TextError: the text is no valid Unicode or is over `MAX_CHARACTERS`, or the vocabulary is
            not romanised.
        MmsError: a package of the extra `[align]` is needed and not installed.
    """
    _check(text)
    spelling = _Spelling(vocabulary, language, romanized=romanized, numbers=numbers)
    by_character = is_by_character(language)
    lines: list[TextLine] = []
    words: list[TargetWord] = []
    paragraph, blank = -1, True
    for index, (start, end) in enumerate(line_spans(text) if text else [(0, 0)]):
        paragraph += start < end and blank
        blank = start == end
        lines.append(TextLine(start, end, max(paragraph, 0)))
        if blank:
            continue
        letters = spelling.letters(text[start:end], start)
        places = [(letter.start, letter.end) for letter in letters]
        spans = word_spans(text, (start, end), places, by_character=by_character)
        words += _words(spans, letters, index)
    if split == "line":
        return TargetText(text, tuple(words), tuple(lines))
    return _regroup(text, words, lines, language, by_sentence=split == "sentence")


def spellings(
    words: Sequence[str], language: str, vocabulary: Vocabulary, *, romanized: bool
) -> list[tuple[int, ...]]:
    """Return the tokens of each word; none where the vocabulary cannot spell it.

    A word that is not romanised needs a token for each of its letters and digits.

    Args:
        words: Words as written.
        language: Code of the language, as in MMS.
        vocabulary: Tokens of the emission.
        romanized: See `targets`.

    Raises:
        TextError: a word is no valid Unicode, or the vocabulary is not romanised.
        MmsError: a package of the extra `[align]` is needed and not installed.
    """
    spelling = _Spelling(vocabulary, language, romanized=romanized, numbers="words")
    found: list[tuple[int, ...]] = []
    for word in words:
        _check(word)
        letters = spelling.letters(word, 0)
        spelled = {i for letter in letters for i in range(letter.start, letter.end)}
        missing = (c for i, c in enumerate(word) if i not in spelled and c.isalnum())
        is_whole = romanized or next(missing, None) is None
        found.append(tuple(letter.token for letter in letters) if is_whole else ())
    return found


def _check(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise TextError(
            f"the text has {len(text):,} characters, and {MAX_CHARACTERS:,} are the limit: "
            "align it in parts"
        )
    bad = _NOT_TEXT.search(text)
    if bad:
        line = len(text[: bad.end()].splitlines())
        raise TextError(
            f"the text has U+{ord(bad.group()):04X} in line {line}, which no text may contain: "
            "is the file text, and in UTF-8?"
        )


class _Spelling:
    """Letters of a line of text, as tokens of a vocabulary."""

    def __init__(
        self, vocabulary: Vocabulary, language: str, *, romanized: bool, numbers: NumberPolicy
    ) -> None:
        tokens = {
            token: i
            for i, token in enumerate(vocabulary.tokens)
            if vocabulary.is_text(i)
            and (not romanized or token in _ROMANIZED)
            and (numbers == "words" or not token.isdecimal())
        }
        if tokens.keys() <= {"'"}:
            letters = "letters from a to z: it is not romanised" if romanized else "letters"
            raise TextError(f"the vocabulary has no {letters}")
        self._language = language
        self._romanized = romanized
        self._reads_numbers = numbers == "words"
        self._cased = any(token != token.lower() for token in tokens)
        self._tokens = tokens
        if self._cased:
            lowered = {token.lower(): i for token, i in tokens.items()}
            self._tokens = lowered | tokens
        self._longest = max(map(len, self._tokens))

    def letters(self, line: str, offset: int) -> list[Letter]:
        """Return the letters of a line at an offset of the source."""
        text = AlignedText.from_source(line, offset)
        if self._reads_numbers:
            text = read_numbers(text, self._language)
        if self._romanized:
            text = romanize(normalize(text, self._language), self._language).lower()
            found = zip(map(self._tokens.get, text.text), text.starts, text.ends, strict=True)
            return [Letter(token, *place) for token, *place in found if token is not None]
        text = text.normalize("NFC")
        return list(self._spell(text if self._cased else text.lower()))

    def _spell(self, text: AlignedText) -> Iterator[Letter]:
        """Yield the longest tokens that the text is made of; other characters are left out."""
        characters, tokens = text.text, self._tokens
        i = 0
        while i < len(characters):
            for length in range(self._longest, 0, -1):
                token = tokens.get(characters[i : i + length])
                if token is not None:
                    yield Letter(token, *text.span(i, min(i + length, len(characters))))
                    i += length
                    break
            else:
                for token in self._similar(characters[i]):
                    yield Letter(token, text.starts[i], text.ends[i])
                i += 1

    def _similar(self, character: str) -> Iterator[int]:
        """Yield the tokens of a character that is in the vocabulary in another form only."""
        if character.isspace():
            return
        form = "'" if character in _APOSTROPHES else unicodedata.normalize("NFKC", character)
        if form != character or self._cased:
            for part in (form, form.lower()):
                found = [self._tokens[c] for c in part if c in self._tokens]
                if found:
                    yield from found
                    return


def _words(spans: list[Span], letters: list[Letter], line: int) -> Iterator[TargetWord]:
    """Yield the words of a line, with the letters that begin in each."""
    done = 0
    for i, (start, end) in enumerate(spans):
        bound = spans[i + 1][0] if i + 1 < len(spans) else None
        first = done
        while done < len(letters) and (bound is None or letters[done].start < bound):
            done += 1
        yield TargetWord(start, end, line, tuple(letters[first:done]))


def _regroup(
    text: str,
    words: list[TargetWord],
    lines: list[TextLine],
    language: str,
    *,
    by_sentence: bool,
) -> TargetText:
    """Return the text with paragraphs or sentences as its lines."""
    units: list[TextLine] = []
    regrouped: list[TargetWord] = []
    before: TargetWord | None = None
    for word in words:
        paragraph = lines[word.line].paragraph
        if (
            before is None
            or paragraph != units[-1].paragraph
            or (
                by_sentence
                and ends_sentence(
                    text[before.start : before.end], text[word.start : word.end], language
                )
            )
        ):
            units.append(TextLine(word.start, word.end, paragraph))
        units[-1] = replace(units[-1], end=word.end)
        regrouped.append(replace(word, line=len(units) - 1))
        before = word
    return TargetText(text, tuple(regrouped), tuple(units))
