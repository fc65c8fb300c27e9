"""A language's tokens: which are text, which end a word, which are neither."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLANK = 0
WORD_BOUNDARY = "|"
SPECIAL = frozenset({"<pad>", "<s>", "</s>", "<unk>"})
"""Tokens of the training, never of a text: `Wav2Vec2CTCTokenizer`'s four."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of one language by id. Entries may be longer than a character."""

    tokens: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def is_boundary(self, token: int) -> bool:
        """Return whether `token` stands between two words."""
        return self.tokens[token] == WORD_BOUNDARY

    def is_text(self, token: int) -> bool:
        """Return whether `token` is part of a word."""
        return token != BLANK and self.tokens[token] not in SPECIAL and not self.is_boundary(token)

    @property
    def has_boundary(self) -> bool:
        """Whether the language's text has words at all; without, each token counts as one."""
        return WORD_BOUNDARY in self.tokens

    def text(self, tokens: Iterable[int]) -> str:
        """Return what decoded tokens (repeats and blanks already removed) read as.

        The same string as `Wav2Vec2CTCTokenizer.decode` gives, less its special tokens.
        """
        return "".join(self._pieces(tokens)).strip()

    def _pieces(self, tokens: Iterable[int]) -> Iterator[str]:
        for token in tokens:
            if self.is_boundary(token):
                yield " "
            elif self.is_text(token):
                yield self.tokens[token]

    def group(self, tokens: Iterable[int]) -> list[list[int]]:
        """Return for each word the positions in `tokens` of the tokens it is made of."""
        words: list[list[int]] = []
        fresh = True
        for position, token in enumerate(tokens):
            if self.is_boundary(token):
                fresh = True
            elif self.is_text(token):
                if fresh or not self.has_boundary:
                    words.append([])
                words[-1].append(position)
                fresh = False
        return words
