"""Reference of the search over a lexicon: every path of a small utterance."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Words = tuple[int, ...]
Spellings = Mapping[tuple[int, ...], Sequence[int]]
"""Words of each spelling, without its separator."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Options of the search, as in `LexiconOptions`."""

    blank: int = 0
    separator: int | None = None
    sum_paths: bool = False
    open_end: bool = True


def lexicon_search(
    log_probs: npt.NDArray[Any], spellings: Spellings, rules: Rules
) -> dict[Words, float]:
    """Return the log-probability of every sequence of words, by enumerating all V^T paths.

    Args:
        log_probs: Shape `[T, V]`, small.
        spellings: The lexicon.
        rules: Options.
    """
    found: dict[Words, float] = {}
    rows = np.asarray(log_probs, np.float64)
    for path in itertools.product(range(rows.shape[1]), repeat=len(rows)):
        score = float(sum(row[token] for row, token in zip(rows, path, strict=True)))
        if score == -math.inf:
            continue
        tokens = tuple(token for token, _ in itertools.groupby(path) if token != rules.blank)
        for words in _readings(tokens, spellings, rules):
            before = found.get(words, -math.inf)
            found[words] = (
                float(np.logaddexp(before, score)) if rules.sum_paths else max(before, score)
            )
    return found


def _readings(tokens: tuple[int, ...], spellings: Spellings, rules: Rules) -> Iterator[Words]:
    """Yield the sequences of words that tokens spell."""
    separator = rules.separator
    if separator is None:
        yield from _parsed(tokens, spellings)
        return
    runs = [tuple(run) for is_end, run in itertools.groupby(tokens, separator.__eq__) if not is_end]
    ends_open = bool(tokens) and tokens[-1] != separator
    if ends_open and not rules.open_end:
        return
    yield from itertools.product(*(sorted(set(spellings.get(run, ()))) for run in runs))


def _parsed(tokens: tuple[int, ...], spellings: Spellings) -> Iterator[Words]:
    if not tokens:
        yield ()
    for end in range(1, len(tokens) + 1):
        for word in sorted(set(spellings.get(tokens[:end], ()))):
            for rest in _parsed(tokens[end:], spellings):
                yield (word, *rest)
