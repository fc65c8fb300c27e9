"""Hotwords: phrases that a decoder favours, and the file format for them."""

import math
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc

DEFAULT_WEIGHT = 5.0
"""Nats for each occurrence of a phrase without its own weight."""

Phrases = Mapping[str, float] | Sequence[str | tuple[str, float]]


class Hotwords:
    """Automaton of weighted phrases over the tokens of a vocabulary. Immutable and thread-safe.

    Each occurrence of a phrase, also overlapping or nested, adds its weight in nats once. With a
    separator a phrase occurs only as whole words. A share of the weight is lent while the phrase is
    in progress, and taken back if it is not completed; a negative weight lends nothing.
    """

    def __init__(
        self,
        phrases: Phrases,
        tokens: Sequence[str],
        *,
        separator: str | None = "|",
        excluded: Collection[int] = (),
        weight: float = DEFAULT_WEIGHT,
    ) -> None:
        """Build the automaton.

        Args:
            phrases: Weight (nats) of each phrase; or a list of phrases, with or without weights.
                Weights of repeated phrases are added. White space separates words.
            tokens: The vocabulary, by id. Phrases are spelled with the longest matching tokens,
                compared in Unicode NFC.
            separator: The token between words; `None` for none, then white space is ignored.
            excluded: Ids that never occur in text, such as that of the blank.
            weight: Weight (nats) of phrases without their own.

        Raises:
            ValueError: An empty phrase, one that the vocabulary cannot spell, a weight that is
                not finite, a separator that is not a token, or too many phrases.
        """
        spelling = _Spelling(tokens, separator, excluded)
        pairs = _pairs(phrases, weight)
        for phrase, value in pairs:
            if not math.isfinite(value):
                raise ValueError(f"the weight of phrase {phrase!r} is {value}, not a finite number")
        self._automaton = _ctc.Hotwords(
            [spelling.ids(phrase) for phrase, _ in pairs],
            [value for _, value in pairs],
            len(tokens),
            spelling.boundary,
        )
        self._count = len(pairs)

    def __repr__(self) -> str:
        return f"Hotwords({self._count} phrases, {self._automaton.nbytes} bytes)"

    @property
    def automaton(self) -> _ctc.Hotwords:
        """Native object, for the decoders."""
        return self._automaton

    def score(self, tokens: npt.NDArray[np.int32]) -> float:
        """Return the sum of the weights (nats) of all occurrences in a complete hypothesis.

        Args:
            tokens: Shape `[L]`: token ids, without blanks.

        Raises:
            ValueError: A token outside the vocabulary.
        """
        return self._automaton.score(np.ascontiguousarray(tokens, np.int32))


class _Spelling:
    """Text to token ids, longest match first."""

    def __init__(
        self, tokens: Sequence[str], separator: str | None, excluded: Collection[int]
    ) -> None:
        if separator is not None and separator not in tokens:
            raise ValueError(f"separator {separator!r} is not in the vocabulary: pass None if none")
        self.boundary = -1 if separator is None else list(tokens).index(separator)
        self._ids: dict[str, int] = {}
        for index, token in enumerate(tokens):
            if index != self.boundary and index not in excluded and token:
                self._ids.setdefault(unicodedata.normalize("NFC", token), index)
        self._longest = max(map(len, self._ids), default=0)

    def ids(self, phrase: str) -> list[int]:
        """Return the tokens of a phrase, with the separator, if any, between words."""
        words = unicodedata.normalize("NFC", phrase).split()
        if not words:
            raise ValueError("a phrase is empty")
        spelled: list[int] = []
        for word in words:
            if spelled and self.boundary >= 0:
                spelled.append(self.boundary)
            spelled += self._word(word, phrase)
        return spelled

    def _word(self, word: str, phrase: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word):
            ends = range(min(len(word), start + self._longest), start, -1)
            end = next((end for end in ends if word[start:end] in self._ids), None)
            if end is None:
                raise ValueError(self._unknown(word[start], phrase))
            found.append(self._ids[word[start:end]])
            start = end
        return found

    def _unknown(self, character: str, phrase: str) -> str:
        lower = character.lower()
        hint = f" (it has {lower!r})" if lower in self._ids else ""
        return f"phrase {phrase!r}: {character!r} is not in the vocabulary{hint}"


def _pairs(phrases: Phrases, weight: float) -> list[tuple[str, float]]:
    if isinstance(phrases, str):
        raise TypeError("phrases is one string: pass a list of phrases")
    if isinstance(phrases, Mapping):
        return list(phrases.items())
    return [(entry, weight) if isinstance(entry, str) else entry for entry in phrases]


def read_hotwords(path: Path, *, weight: float = DEFAULT_WEIGHT) -> dict[str, float]:
    """Read a UTF-8 file with one phrase per line, optionally with a tab and a weight after it.

    Empty lines and lines that start with `#` are skipped. Weights of repeated phrases are added.

    Args:
        path: The file.
        weight: Weight (nats) of phrases without their own.

    Returns:
        The weight of each phrase.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not UTF-8, or a line has no phrase or an invalid weight; the message
            names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: byte {error.start} cannot be read") from error
    phrases: dict[str, float] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        phrase, tab, written = line.partition("\t")
        phrase = " ".join(phrase.split())
        if not phrase:
            raise ValueError(f"{path}:{number}: there is no phrase before the tab")
        value = _weight(written, f"{path}:{number}") if tab else weight
        phrases[phrase] = phrases.get(phrase, 0.0) + value
    return phrases


def _weight(written: str, place: str) -> float:
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{place}: the weight {written.strip()!r} is not a finite number")
    return value
