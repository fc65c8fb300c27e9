"""A language's tokens: which are text, which end a word, which are neither."""

from collections.abc import Iterable
from dataclasses import dataclass, field

BLANK = 0
WORD_BOUNDARY = "|"
SPECIAL = frozenset({"<pad>", "<s>", "</s>", "<unk>"})
"""Tokens of the training, never of a text: `Wav2Vec2CTCTokenizer`'s four."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of one language by id. Entries may be longer than a character."""

    tokens: tuple[str, ...]
    _written: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """What each reads as."""
    _texts: frozenset[int] = field(init=False, repr=False, compare=False)
    """Those that are part of a word."""
    _boundary: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tokens = self.tokens
        boundary = tokens.index(WORD_BOUNDARY) if WORD_BOUNDARY in tokens else None
        texts = frozenset(
            i
            for i, token in enumerate(tokens)
            if i not in (BLANK, boundary) and token not in SPECIAL
        )
        written = (token if i in texts else "" for i, token in enumerate(tokens))
        object.__setattr__(self, "_boundary", boundary)
        object.__setattr__(self, "_texts", texts)
        object.__setattr__(
            self,
            "_written",
            tuple(" " if i == boundary else text for i, text in enumerate(written)),
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def is_boundary(self, token: int) -> bool:
        """Return whether `token` stands between two words."""
        return token == self._boundary

    def is_text(self, token: int) -> bool:
        """Return whether `token` is part of a word."""
        return token in self._texts

    @property
    def has_boundary(self) -> bool:
        """Whether the language's text has words at all; without, each token counts as one."""
        return self._boundary is not None

    def text(self, tokens: Iterable[int]) -> str:
        """Return what decoded tokens (repeats and blanks already removed) read as.

        The same string as `Wav2Vec2CTCTokenizer.decode` gives, less its special tokens.
        """
        return "".join(map(self._written.__getitem__, tokens)).strip()

    def group(self, tokens: Iterable[int]) -> list[list[int]]:
        """Return for each word the positions in `tokens` of the tokens it is made of."""
        words: list[list[int]] = []
        boundary, texts = self._boundary, self._texts
        fresh = True
        for position, token in enumerate(tokens):
            if token == boundary:
                fresh = True
            elif token in texts:
                if fresh or boundary is None:
                    words.append([])
                words[-1].append(position)
                fresh = False
        return words
