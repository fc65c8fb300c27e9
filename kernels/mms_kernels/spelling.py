"""Spelling of text with the tokens of a vocabulary, and folding to its case and characters."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence

_APOSTROPHES = "'\u2019\u02bc\u02bb\u2018\u02b9\u2032\u201b\u00b4`\uff07\ua78c\u055a"

_DOTLESS, _DOTTED = "\u0131", "\u0130"
_TURKISH = {"I": _DOTLESS, "i": _DOTTED}
_SHOWN = 40


class Spelling:
    """Tokens that spell a text. Immutable and thread-safe.

    Text is folded first: to Unicode NFC; then each character that no token contains is replaced by
    its other case, another apostrophe, its decomposition or its compatibility form, where tokens
    contain that; invisible format characters that no token contains are dropped. A character that
    some token contains stays as it is. With a dotless i in the vocabulary, cases are Turkish.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        separator: str | None = "|",
        excluded: Collection[int] = (),
    ) -> None:
        """Read a vocabulary.

        Args:
            tokens: The vocabulary, by id.
            separator: The token between words; `None` for none, then white space is ignored.
            excluded: Ids that never occur in text, such as that of the blank.

        Raises:
            ValueError: The separator is not a token.
        """
        if separator is not None and separator not in tokens:
            raise ValueError(f"separator {separator!r} is not in the vocabulary: pass None if none")
        self.boundary = -1 if separator is None else list(tokens).index(separator)
        """Id of the separator; -1 for none."""
        self.tokens = tuple(tokens)
        self._ids: dict[str, int] = {}
        for index, token in enumerate(tokens):
            if index != self.boundary and index not in excluded and token:
                self._ids.setdefault(unicodedata.normalize("NFC", token), index)
        self._longest = max(map(len, self._ids), default=0)
        self._folding = _Folding(frozenset("".join(self._ids)))
        letters = "".join(map(re.escape, self._folding.letters))
        self._is_outside = re.compile(f"[^{letters}]" if letters else "").search
        self._is_alphabet = all(
            len(text) == 1 and text == tokens[index] for text, index in self._ids.items()
        )
        """Whether each token is one character, so that folded text is its own spelling."""

    def fold(self, text: str) -> str:
        """Return text in the case and the characters of the vocabulary, where it has them."""
        return self._folding.fold(text)

    def ids(self, phrase: str) -> list[int]:
        """Return the tokens of a phrase, with the separator, if any, between words.

        The longest tokens are preferred, from the left.

        Raises:
            ValueError: The phrase is empty, or a character cannot be spelled.
        """
        words = self.fold(phrase).split()
        if not words:
            raise ValueError("a phrase is empty")
        spelled: list[int] = []
        for word in words:
            if spelled and self.boundary >= 0:
                spelled.append(self.boundary)
            found = self._segment(word)
            if found is None:
                character = word[self._reach(word)]
                raise ValueError(f"phrase {shown(phrase)}: {character!r} is not in the vocabulary")
            spelled += found
        return spelled

    def written(self, words: Sequence[str]) -> list[str | None]:
        """Return each word as its tokens spell it; `None` where they cannot.

        Args:
            words: Words without line ends.
        """
        folded = self.fold("\n".join(words)).split("\n") if words else []
        if self._is_alphabet:
            return [None if not word or self._is_outside(word) else word for word in folded]
        return [self._written(word) for word in folded]

    def written_tokens(self, texts: Sequence[str]) -> list[str | None]:
        """Return the token that each text stands for, as the vocabulary has it; `None` for none."""
        known = dict.fromkeys(self.tokens)
        folded = (self._ids.get(self.fold(text)) for text in texts)
        return [
            text if text in known else None if index is None else self.tokens[index]
            for text, index in zip(texts, folded, strict=True)
        ]

    def _written(self, word: str) -> str | None:
        found = self._segment(word) if word and not self._is_outside(word) else None
        return None if found is None else "".join([self.tokens[index] for index in found])

    def _segment(self, word: str) -> list[int] | None:
        """Return the tokens of a word; `None` if there are none."""
        size = len(word)
        ends = [0] * (size + 1)  # of the token at each place from which the end can be reached
        ends[size] = size + 1
        for start in range(size - 1, -1, -1):
            ends[start] = next((end for end in self._matches(word, start) if ends[end]), 0)
        if not ends[0]:
            return None
        found, start = [], 0
        while start < size:
            found.append(self._ids[word[start : ends[start]]])
            start = ends[start]
        return found

    def _matches(self, word: str, start: int) -> Iterator[int]:
        """Yield the ends of the tokens at a place, longest first."""
        last = min(len(word), start + self._longest)
        return (end for end in range(last, start, -1) if word[start:end] in self._ids)

    def _reach(self, word: str) -> int:
        """Return the furthest place of an unspellable word that tokens reach from its start."""
        reached = {0}
        for start in range(len(word)):
            if start in reached:
                reached.update(self._matches(word, start))
        return max(place for place in reached if place < len(word))


def shown(text: str) -> str:
    """Return the beginning of a text in quotes, for messages."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


class _Folding(dict[int, str]):
    """Replacement of each character, by code point, for `str.translate`; filled on demand."""

    def __init__(self, letters: frozenset[str]) -> None:
        super().__init__()
        self.letters = letters

    def fold(self, text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        if "Σ" in text and not self.letters.isdisjoint("ς") and "Σ" not in self.letters:
            text = re.sub(r"(?<=\w)Σ(?!\w)", "ς", text)
        return text.translate(self)

    def __missing__(self, code: int) -> str:
        character = chr(code)
        stays = character in self.letters or character.isspace()
        self[code] = character if stays else self._replacement(character)
        return self[code]

    def _replacement(self, character: str) -> str:
        candidates = _candidates(character, self.letters)
        return next((one for one in candidates if self.letters.issuperset(one)), character)


def _candidates(character: str, letters: frozenset[str]) -> Iterator[str]:
    """Yield replacements, the best first."""
    if _DOTLESS in letters or _DOTTED in letters:
        yield _TURKISH.get(character, character)
    if character == _DOTTED:
        yield "i"
    if character in _APOSTROPHES:
        yield from _APOSTROPHES
    cases = character.lower(), character.upper()
    yield from cases
    for form in ("NFD", "NFKC"):
        for one in (character, *cases):
            yield unicodedata.normalize(form, one)
    is_selector = "\ufe00" <= character <= "\ufe0f"
    if unicodedata.category(character) == "Cf" or is_selector:
        yield ""
