"""Token vocabularies: text tokens, the word boundary and special tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

BLANK = 0
WORD_BOUNDARY = "|"
SPECIAL = frozenset({"<pad>", "<s>", "</s>", "<unk>"})
"""Special tokens of `Wav2Vec2CTCTokenizer`, which are not part of any text."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens of one language. A token may be longer than a character."""

    tokens: tuple[str, ...]
    """Tokens by id; id 0 is the blank."""
    word_delimiter: str | None = WORD_BOUNDARY
    """Token of the word boundary; it need not be among the tokens."""
    delimiter_text: str = " "
    """Text of the word boundary."""
    _written: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Text of each token; nothing for special tokens."""
    _texts: frozenset[int] = field(init=False, repr=False, compare=False)
    """Ids of the text tokens."""
    _boundary: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tokens = self.tokens
        delimiter = self.word_delimiter
        boundary = tokens.index(delimiter) if delimiter in tokens else None
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
            tuple(self.delimiter_text if i == boundary else t for i, t in enumerate(written)),
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def part(self, tokens: Sequence[int]) -> "Vocabulary":
        """Return the vocabulary of some of the tokens, the blank first."""
        chosen = tuple(self.tokens[token] for token in tokens)
        return Vocabulary(chosen, self.word_delimiter, self.delimiter_text)

    def is_text(self, token: int) -> bool:
        """Return whether `token` is part of a word."""
        return token in self._texts

    @property
    def has_boundary(self) -> bool:
        """Whether the vocabulary has a word boundary; without one, each token is a word."""
        return self._boundary is not None

    def text(self, tokens: Iterable[int]) -> str:
        """Return the text of decoded tokens, from which repeats and blanks are already removed.

        It equals the result of `Wav2Vec2CTCTokenizer.decode`, without special tokens.
        """
        return "".join(map(self._written.__getitem__, tokens)).strip()

    def group(self, tokens: Iterable[int]) -> list[list[int]]:
        """Return the words, each as the positions in `tokens` of its text tokens."""
        words: list[list[int]] = []
        boundary, texts = self._boundary, self._texts
        begins = True
        for position, token in enumerate(tokens):
            if token == boundary:
                begins = True
            elif token in texts:
                if begins or boundary is None:
                    words.append([])
                words[-1].append(position)
                begins = False
        return words
