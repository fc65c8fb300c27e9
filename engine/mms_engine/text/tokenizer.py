"""Tokens of a voice for a text, as transformers' `VitsTokenizer` makes them, and what it drops."""

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.text.aligned import AlignedText, Edit, attaches
from mms_engine.text.confusables import look_alikes
from mms_engine.text.romanization import romanize
from mms_engine.text.segmentation import is_silent
from mms_engine.types import Dropped, DroppedKind

BLANK = 0
"""Id of the blank, which is a letter as well: it stands around every token."""

APOSTROPHES = frozenset("'\u2018\u2019\u201b\u02bc\u02bb`\u00b4")


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceText:
    """Fields of a voice's tokenizer, under the names of tokenizer_config.json."""

    vocabulary: dict[str, int]
    """Id of each token, in the order of vocab.json."""
    language: str | None
    """Language of the tokenizer; `ron` has a rule of its own."""
    add_blank: bool = True
    normalize: bool = True
    is_uroman: bool = False


@dataclass(frozen=True, slots=True)
class VoiceLetter:
    """A token and the characters of the source that it stands for."""

    token: int
    start: int
    """Offset in the source of the first character."""
    end: int
    """Offset behind the last character."""


@dataclass(frozen=True, slots=True)
class VoiceTokens:
    """Tokens of a text."""

    letters: tuple[VoiceLetter, ...]
    dropped: tuple[Dropped, ...]
    add_blank: bool

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """Ids `[T]` with blanks between all tokens and at both ends: T = 2·letters + 1."""
        tokens = np.array([letter.token for letter in self.letters], np.int64)
        if not self.add_blank or not tokens.size:
            return tokens
        ids = np.full(2 * len(tokens) + 1, BLANK, np.int64)
        ids[1::2] = tokens
        return ids

    def position(self, letter: int) -> int:
        """Return the position in `ids` of a letter."""
        return 2 * letter + 1 if self.add_blank else letter


class VoiceTokenizer:
    """Tokenizer of one voice. Methods are thread-safe.

    In order: lower case, character by character, except where a token of the vocabulary matches;
    for `ron`, ț becomes ţ; romanisation by uroman, without rules of the language, if the voice has
    it and the text is not ASCII; characters outside the vocabulary go; white space at the ends
    goes. Canonically equivalent spellings of a dropped character (NFC, NFD), and its NFKC form
    such as a full-width letter, are tried before it is dropped.
    """

    def __init__(self, voice: VoiceText, *, map_look_alikes: bool = False) -> None:
        """Take a voice's fields.

        Args:
            voice: Fields of the tokenizer.
            map_look_alikes: Whether letters that look like a dropped one are spoken instead.
        """
        self._voice = voice
        self._vocabulary = voice.vocabulary
        self._map = map_look_alikes
        self._tokens: dict[str, list[str]] = {}
        for token in voice.vocabulary:
            if token:
                self._tokens.setdefault(token[0], []).append(token)
        self._digits = frozenset(t for t in voice.vocabulary if t.isdecimal())

    def encode(self, text: AlignedText, source: str, offset: int = 0) -> VoiceTokens:
        """Return the tokens of a sentence and all characters of its source that have none.

        Args:
            text: The sentence, with numbers read out.
            source: The sentence as written.
            offset: Offset of the sentence; `text` counts from the same origin.

        Raises:
            MmsError: uroman is needed and not installed.
        """
        if self._voice.normalize:
            text = text.edit(self._lower(text.text))
        if self._voice.language == "ron":
            text = text.translate({0x21B: "\u0163"})
        if self._voice.is_uroman and not text.text.isascii():
            text = romanize(text, self._voice.language or "", rules=False, digits=self._digits)
        replaced: dict[int, str] = {}
        letters = self._stripped(self._letters(text, replaced))
        dropped = self._dropped(letters, text, source, offset, replaced)
        return VoiceTokens(tuple(letters), tuple(dropped), self._voice.add_blank)

    def _lower(self, text: str) -> Iterator[Edit]:
        """Yield the edits to lower case: tokens of the vocabulary are kept, in its order."""
        i = 0
        while i < len(text):
            token = next((t for t in self._tokens.get(text[i], ()) if text.startswith(t, i)), "")
            lowered = text[i].lower()
            if not token and lowered != text[i]:
                yield i, i + 1, lowered
            i += len(token) or 1

    def _letters(self, text: AlignedText, replaced: dict[int, str]) -> Iterator[VoiceLetter]:
        """Yield the tokens of a text; `replaced` gets the look-alikes by the offset of theirs."""
        characters = text.text
        i = 0
        while i < len(characters):
            token = self._vocabulary.get(characters[i])
            end = i + 1
            tokens = [] if token is None else [token]
            following = characters[end : end + 1]
            if token is None or (
                following and following not in self._vocabulary and attaches(following)
            ):
                while end < len(characters) and attaches(characters[end]):
                    end += 1
                tokens = self._spelled(characters[i:end])
                if not tokens:  # one by one
                    end = i + 1
                    tokens = [] if token is None else [token]
            if not tokens:
                similar = look_alikes(characters[i], self._vocabulary)
                if similar and self._map and _is_letter(characters, i):
                    replaced[text.starts[i]] = similar[0]
                    tokens = [self._vocabulary[similar[0]]]
            start, stop = text.span(i, end)
            yield from (VoiceLetter(one, start, stop) for one in tokens)
            i = end

    def _spelled(self, cluster: str) -> list[int]:
        """Return the tokens of an equivalent of a character and its marks; none if there is none.

        It must have them all: a letter without its mark is another letter.
        """
        for form in ("NFC", "NFD", "NFKC"):
            spelled = unicodedata.normalize(form, cluster)
            for candidate in (spelled, spelled.lower()) if spelled != cluster else ():
                if all(c in self._vocabulary for c in candidate):
                    return [self._vocabulary[c] for c in candidate]
        return []

    def _stripped(self, letters: Iterator[VoiceLetter]) -> list[VoiceLetter]:
        """Return the letters without white space at the ends."""
        kept = list(letters)
        spaces = self._spaces
        while kept and kept[-1].token in spaces:
            kept.pop()
        start = next((i for i, one in enumerate(kept) if one.token not in spaces), len(kept))
        return kept[start:]

    @functools.cached_property
    def _spaces(self) -> frozenset[int]:
        return frozenset(i for token, i in self._vocabulary.items() if token.isspace())

    def is_space(self, token: int) -> bool:
        """Return whether a token is white space."""
        return token in self._spaces

    def _dropped(
        self,
        letters: Sequence[VoiceLetter],
        text: AlignedText,
        source: str,
        offset: int,
        replaced: dict[int, str],
    ) -> Iterator[Dropped]:
        """Yield the characters of the source, other than white space, that no letter stands for."""
        spoken = bytearray(len(source))
        written = bytearray(len(source))
        for letter in letters:
            start, end = letter.start - offset, letter.end - offset
            spoken[start:end] = b"\1" * (end - start)
        for start, end in zip(text.starts, text.ends, strict=True):
            written[start - offset : end - offset] = b"\1" * (end - start)
        last: Dropped | None = None
        for i, character in enumerate(source):
            replacement = replaced.get(offset + i, "")
            if (spoken[i] and not replacement) or character.isspace():
                continue
            kind = _kind(source, i) if written[i] else "silent"
            similar = look_alikes(character, self._vocabulary)
            if not similar and character != character.lower():
                similar = look_alikes(character.lower(), self._vocabulary)
            place = offset + i
            one = Dropped(character, place, place + 1, kind, similar, replacement)
            joined = None if last is None else _joined(last, one)
            if last is not None and joined is None:
                yield last
            last = joined or one
        if last is not None:
            yield last


def _joined(last: Dropped, one: Dropped) -> Dropped | None:
    """Return neighbours as one; `None` if they are not of a kind."""
    alike = (last.kind, last.look_alikes, last.replacement) == (one.kind, (), "")
    if last.end != one.start or one.look_alikes or one.replacement or not alike:
        return None
    return Dropped(last.text + one.text, last.start, one.end, one.kind)


def _is_letter(text: str, i: int) -> bool:
    """Return whether a character is part of a word: an apostrophe is, a quotation mark is not."""
    around = text[max(i - 1, 0) : i], text[i + 1 : i + 2]
    is_mark = unicodedata.category(text[i])[0] == "M"
    return is_mark or not is_silent(text[i]) or all(map(str.isalpha, around))


def _kind(text: str, i: int) -> DroppedKind:
    category = unicodedata.category(text[i])
    if category[0] == "N":
        return "digit"
    if category[0] == "M":
        return "mark"
    if category[0] == "L" or (text[i] in APOSTROPHES and _is_letter(text, i)):
        return "letter"
    return "punctuation" if is_silent(text[i]) else "symbol"
