"""Hotwords: phrases that a decoder favours, and the file format for them."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc
from mms_kernels.spelling import Spelling, shown

DEFAULT_WEIGHT = 5.0
"""Nats for each occurrence of a phrase without its own weight."""
MAX_WEIGHT = 1000.0
"""Greatest weight of a phrase, in nats, that is not skipped."""
MAX_TOKENS = 1000
"""Tokens of the longest phrase that is not skipped."""

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
        skip: bool = False,
    ) -> None:
        """Build the automaton.

        Args:
            phrases: Weight (nats) of each phrase; or a list of phrases, with or without weights.
                Weights of repeated phrases are added. White space separates words.
            tokens: The vocabulary, by id. Phrases are spelled with the longest matching tokens,
                folded as by `Spelling`.
            separator: The token between words; `None` for none, then white space is ignored.
            excluded: Ids that never occur in text, such as that of the blank.
            weight: Weight (nats) of phrases without their own.
            skip: Whether unusable phrases are left out (`skipped`): those that would be an error,
                repeated ones, those of more than `MAX_TOKENS` tokens, and those with a weight
                beyond ±`MAX_WEIGHT`.

        Raises:
            ValueError: An empty phrase, one that the vocabulary cannot spell, a weight that is
                not finite, a separator that is not a token, or too many phrases.
        """
        spelling = Spelling(tokens, separator=separator, excluded=excluded)
        pairs = _pairs(phrases, weight)
        skipped: list[str] = []
        if skip:
            usable = list(_usable(pairs, spelling, skipped))
        else:
            usable = [(_checked(phrase, value, spelling), value) for phrase, value in pairs]
        self._automaton = _ctc.Hotwords(
            [ids for ids, _ in usable],
            [value for _, value in usable],
            len(tokens),
            spelling.boundary,
        )
        self._count = len(usable)
        self.skipped = tuple(skipped)
        """A clause for each phrase that was left out: the phrase and the reason."""

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


def _checked(phrase: str, weight: float, spelling: Spelling) -> list[int]:
    """Return the tokens of a phrase.

    Raises:
        ValueError: It cannot be used.
    """
    if not math.isfinite(weight):
        raise ValueError(f"the weight of phrase {shown(phrase)} is {weight}, not a finite number")
    return spelling.ids(phrase)


def _usable(
    pairs: Sequence[tuple[str, float]], spelling: Spelling, skipped: list[str]
) -> Iterator[tuple[list[int], float]]:
    """Yield the tokens and the weight of usable phrases; describe the others in `skipped`."""
    seen: dict[tuple[int, ...], str] = {}
    for phrase, weight in pairs:
        try:
            ids = _checked(phrase, weight, spelling)
        except ValueError as error:
            skipped.append(str(error))
            continue
        if len(ids) > MAX_TOKENS:
            skipped.append(
                f"phrase {shown(phrase)} has {len(ids):,} tokens, at most {MAX_TOKENS:,} do"
            )
        elif abs(weight) > MAX_WEIGHT:
            skipped.append(f"the weight of phrase {shown(phrase)} is beyond ±{MAX_WEIGHT:g}")
        elif tuple(ids) in seen:
            skipped.append(f"phrase {shown(phrase)} repeats {seen[tuple(ids)]}")
        else:
            seen[tuple(ids)] = shown(phrase)
            yield ids, weight


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
    phrases: dict[str, float] = {}
    for number, phrase, written in _lines(path):
        if not phrase:
            raise ValueError(f"{path}:{number}: there is no phrase before the tab")
        value = weight if written is None else _number(written)
        if not math.isfinite(value):
            raise ValueError(f"{path}:{number}: the weight {written!r} is not a finite number")
        phrases[phrase] = phrases.get(phrase, 0.0) + value
    return phrases


def read_phrases(path: Path, *, weight: float = DEFAULT_WEIGHT) -> list[tuple[str, float]]:
    """Read a file as `read_hotwords` does, with lines that `Hotwords(…, skip=True)` leaves out.

    Args:
        path: The file.
        weight: Weight (nats) of phrases without their own.

    Returns:
        Each phrase, which may be empty or repeated, and its weight, NaN where it is no number.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not UTF-8.
    """
    return [
        (phrase, weight if written is None else _number(written))
        for _, phrase, written in _lines(path)
    ]


def _lines(path: Path) -> Iterator[tuple[int, str, str | None]]:
    """Yield the number, the phrase and the weight as written (`None` for none) of each line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: byte {error.start} cannot be read") from error
    for number, line in enumerate(re.split("\r\n|[\n\r\u2028\u2029]", text), 1):
        if line.strip() and not line.startswith("#"):
            phrase, tab, written = line.partition("\t")
            yield number, " ".join(phrase.split()), written.strip() if tab else None


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return math.nan
