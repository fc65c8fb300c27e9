"""Matching of the letters of a text with the letters that a model decodes freely.

Both are sequences of integers. Where they agree they are paired; passages that one of them lacks
are gaps. In long sequences, n-grams that both have once and in the same order are paired first, and
what lies between them by dynamic programming, so that the time grows about linearly.
"""

import itertools
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ANCHOR = 8
"""Letters of an n-gram that is paired before all others. A model that errs on a third of the
letters decodes one 8-gram in 25 without an error."""
_SHORTEST_ANCHOR = 6
_EXACT_CELLS = 1 << 22
"""Cells (4 bytes each) up to which dynamic programming needs no anchors."""
_MAX_CELLS = 1 << 24
_STEP, _LONGEST_STEP = 1 << 10, 1 << 12
"""Letters matched at a time where there are no anchors."""

# Scores of pairs and gaps. A gap of n letters costs the less of n indels and one opening: a model's
# own errors are short, passages that one side lacks are long.
_EQUAL, _DIFFERENT, _INDEL = 20, -20, -20
_OPEN, _EXTEND = -120, -1
MIN_GAP = 7
"""Letters from which a gap is long: where the opening costs less."""

_NEVER = -(1 << 30)


@dataclass(frozen=True, slots=True)
class Gap:
    """A passage without counterpart: of the text, of the decoded letters, or of both."""

    text_start: int
    text_end: int
    """Index behind the last letter of the text; equal to the start if only decoded letters are
    without counterpart, which then stand before this letter."""
    decoded_start: int
    decoded_end: int
    """Index behind the last decoded letter."""

    @property
    def text_size(self) -> int:
        """Letters of the text."""
        return self.text_end - self.text_start

    @property
    def decoded_size(self) -> int:
        """Decoded letters."""
        return self.decoded_end - self.decoded_start


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Pairs of letters, and long gaps."""

    partner: Int64Array
    """Shape `[text]`: index of the decoded letter paired with each letter, equal or not, or -1.
    Increasing, but for the -1."""
    equal: BoolArray
    """Shape `[text]`: whether a letter is paired with an equal one."""
    gaps: tuple[Gap, ...]
    """In order."""


def match_letters(text: Int64Array, decoded: Int64Array) -> Matching:
    """Pair the letters of two sequences, each of shape `[N]`, in order."""
    matcher = _Matcher(text, decoded)
    matcher.match(slice(0, len(text)), slice(0, len(decoded)), ANCHOR)
    gaps, partner = tuple(matcher.gaps()), matcher.partner
    equal = np.zeros(len(text), np.bool_)
    paired = partner >= 0
    equal[paired] = text[paired] == decoded[partner[paired]]
    return Matching(partner, equal, gaps)


class _Matcher:
    """Pairs of two sequences, filled in part by part."""

    def __init__(self, text: Int64Array, decoded: Int64Array) -> None:
        self._text = text
        self._decoded = decoded
        self.partner = np.full(len(text), -1, np.int64)
        self._text_gaps = np.zeros(len(text), np.bool_)
        self._decoded_gaps = np.zeros(len(decoded), np.bool_)

    def match(self, rows: slice, columns: slice, size: int) -> None:
        """Match a part of each sequence, with anchors of `size` letters or less."""
        text, decoded = self._text[rows], self._decoded[columns]
        cells = len(text) * len(decoded)
        if cells <= _EXACT_CELLS:
            self._match_cells(rows, columns)
            return
        anchors = find_anchors(text, decoded, size)
        if anchors:
            self._match_between(rows, columns, anchors, size)
        elif size > _SHORTEST_ANCHOR:
            self.match(rows, columns, size - 1)
        elif cells <= _MAX_CELLS:
            self._match_cells(rows, columns)
        else:
            self._match_stepwise(rows, columns)

    def _match_stepwise(self, rows: slice, columns: slice) -> None:
        """Match sequences without anchors, such as of one sentence a thousand times.

        Each step matches some letters of both, and keeps what lies before the last letters that
        surely belong together.
        """
        i, j, size = rows.start, columns.start, _STEP
        while i < rows.stop and j < columns.stop:
            part = slice(i, min(i + size, rows.stop)), slice(j, min(j + size, columns.stop))
            is_rest = (rows.stop - i) * (columns.stop - j) <= _EXACT_CELLS
            if is_rest:
                part = slice(i, rows.stop), slice(j, columns.stop)
            self._match_cells(*part)
            if is_rest:
                return
            sure = self._last_sure_letter(slice(i, i + 2 * (part[0].stop - i) // 3))
            if sure is not None:
                i, j, size = sure + 1, int(self.partner[sure]) + 1, _STEP
            self._clear(slice(i, part[0].stop), slice(j, part[1].stop))
            if sure is not None:
                continue
            if size < _LONGEST_STEP:
                size *= 2
            else:
                break
        self._text_gaps[i : rows.stop] = self._decoded_gaps[j : columns.stop] = True

    def _last_sure_letter(self, rows: slice) -> int | None:
        """Return the last letter in the midst of `ANCHOR` equal consecutive pairs."""
        partner = self.partner[rows]
        equal = (partner >= 0) & (self._text[rows] == self._decoded[partner])
        follows = np.zeros(len(partner), np.bool_)
        follows[1:] = equal[1:] & equal[:-1] & (partner[1:] == partner[:-1] + 1)
        runs = np.convolve(follows, np.ones(ANCHOR - 1), "valid") == ANCHOR - 1
        found = np.flatnonzero(runs)
        return rows.start + int(found[-1]) + ANCHOR // 2 if len(found) else None

    def _clear(self, rows: slice, columns: slice) -> None:
        self.partner[rows] = -1
        self._text_gaps[rows] = False
        self._decoded_gaps[columns] = False

    def _match_between(
        self, rows: slice, columns: slice, anchors: list[tuple[int, int, int]], size: int
    ) -> None:
        i, j = rows.start, columns.start
        for start, other, length in anchors:
            begin, counterpart = rows.start + start, columns.start + other
            self.match(slice(i, begin), slice(j, counterpart), size)
            i, j = begin + length, counterpart + length
            self.partner[begin:i] = np.arange(counterpart, j)
        self.match(slice(i, rows.stop), slice(j, columns.stop), size)

    def _match_cells(self, rows: slice, columns: slice) -> None:
        text, decoded = self._text[rows], self._decoded[columns]
        if not len(text) or not len(decoded):
            self._text_gaps[rows] = len(text) >= MIN_GAP
            self._decoded_gaps[columns] = len(decoded) >= MIN_GAP
            return
        scores = _fill(text, decoded)
        i, j = len(text), len(decoded)
        while i or j:
            score = scores[i, j]
            if i and j:
                pair = _EQUAL if text[i - 1] == decoded[j - 1] else _DIFFERENT
                if score == scores[i - 1, j - 1] + pair:
                    i, j = i - 1, j - 1
                    self.partner[rows.start + i] = columns.start + j
                    continue
            if i and score == scores[i - 1, j] + _INDEL:
                i -= 1
            elif j and score == scores[i, j - 1] + _INDEL:
                j -= 1
            elif size := _gap_size(scores[: i + 1, j]):
                i -= size
                self._text_gaps[rows.start + i : rows.start + i + size] = True
            else:
                size = _gap_size(scores[i, : j + 1])
                j -= size
                self._decoded_gaps[columns.start + j : columns.start + j + size] = True

    def gaps(self) -> list[Gap]:
        """Return the long gaps; two without a pair between them are one."""
        known = np.flatnonzero(self.partner >= 0)
        # Between two consecutive pairs lie the letters of both sequences that have none.
        rows = itertools.pairwise([-1, *known.tolist(), len(self._text)])
        columns = itertools.pairwise([-1, *self.partner[known].tolist(), len(self._decoded)])
        found: list[Gap] = []
        for (i, next_i), (j, next_j) in zip(rows, columns, strict=True):
            if next_i - i == 1 and next_j - j == 1:
                continue
            text = np.flatnonzero(self._text_gaps[i + 1 : next_i]) + i + 1
            decoded = np.flatnonzero(self._decoded_gaps[j + 1 : next_j]) + j + 1
            if len(text) or len(decoded):
                self._add_gap(found, Gap(*_span(text, next_i), *_span(decoded, next_j)))
        return found

    def _add_gap(self, found: list[Gap], gap: Gap) -> None:
        """Add a gap; few letters between two gaps match by chance, and are part of one."""
        if found:
            last = found[-1]
            between = gap.text_start - last.text_end, gap.decoded_start - last.decoded_end
            if max(between) < MIN_GAP:
                self.partner[last.text_end : gap.text_start] = -1
                found[-1] = Gap(last.text_start, gap.text_end, last.decoded_start, gap.decoded_end)
                return
        found.append(gap)


def _span(letters: Int64Array, otherwise: int) -> tuple[int, int]:
    if not len(letters):
        return otherwise, otherwise
    return int(letters[0]), int(letters[-1]) + 1


def _gap_size(scores: npt.NDArray[np.int32]) -> int:
    """Return the letters of the gap that leads to the last of some cells in a line, or 0."""
    sizes = np.arange(len(scores) - 1, 0, -1)
    found = np.flatnonzero(scores[:-1] + _OPEN + sizes * _EXTEND == scores[-1])
    return int(sizes[found[-1]]) if len(found) else 0


def _fill(text: Int64Array, decoded: Int64Array) -> npt.NDArray[np.int32]:
    """Return the scores of the best paths to each cell, shape `[text + 1, decoded + 1]`."""
    width = len(decoded) + 1
    scores = np.empty((len(text) + 1, width), np.int32)
    linear = np.arange(width, dtype=np.int32) * np.int32(_INDEL)
    affine = np.arange(width, dtype=np.int32) * np.int32(_EXTEND)
    pairs = {
        letter: np.where(decoded == letter, _EQUAL, _DIFFERENT).astype(np.int32)
        for letter in np.unique(text).tolist()
    }
    text_gap = np.full(width, _NEVER, np.int32)
    best = np.full(width, _NEVER, np.int32)
    best[0] = 0
    gap = np.full(width, _NEVER, np.int32)
    for i in range(len(text) + 1):
        if i:
            above = scores[i - 1]
            text_gap = np.maximum(text_gap, above + np.int32(_OPEN)) + np.int32(_EXTEND)
            best = np.maximum(above + np.int32(_INDEL), text_gap)
            np.maximum(best[1:], above[:-1] + pairs[int(text[i - 1])], out=best[1:])
        # Moves along the row, as running maxima: indels, then gaps after them.
        best = np.maximum.accumulate(best - linear) + linear
        before = np.maximum.accumulate(best - affine)
        gap[1:] = before[:-1] + affine[1:] + np.int32(_OPEN)
        np.maximum(best, gap, out=scores[i])
    return scores


def find_anchors(text: Int64Array, decoded: Int64Array, size: int) -> list[tuple[int, int, int]]:
    """Return runs of letters that both sequences have, in the order of both.

    They are made of the n-grams of `size` letters that each sequence has exactly once: of these,
    the longest chain in the order of both.

    Returns:
        Index in `text`, index in `decoded` and length of each run; runs do not overlap.
    """
    (grams, rows), (others, columns) = _unique_grams(text, size), _unique_grams(decoded, size)
    _, left, right = np.intersect1d(grams, others, assume_unique=True, return_indices=True)
    order = np.argsort(rows[left])
    runs: list[tuple[int, int, int]] = []
    for i, j in _longest_chain(rows[left][order].tolist(), columns[right][order].tolist()):
        if runs:
            start, other, length = runs[-1]
            if i - j == start - other and i <= start + length:
                runs[-1] = (start, other, i + size - start)
                continue
            if i < start + length or j < other + length:
                continue
        runs.append((i, j, size))
    return runs


def _unique_grams(letters: Int64Array, size: int) -> tuple[npt.NDArray[np.uint64], Int64Array]:
    """Return the hashes of the n-grams that occur once, sorted, and their places."""
    if len(letters) < size:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    mixed = (letters.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    hashes = np.zeros(len(letters) - size + 1, np.uint64)
    for k in range(size):
        part = mixed[k : len(mixed) - size + 1 + k]
        hashes = hashes * np.uint64(0xD6E8FEB86659FD93) + (part ^ (part >> np.uint64(29)))
    values, places, counts = np.unique(hashes, return_index=True, return_counts=True)
    once = counts == 1
    return values[once], places[once].astype(np.int64)


def _longest_chain(rows: list[int], columns: list[int]) -> list[tuple[int, int]]:
    """Return the longest subsequence with increasing columns; rows increase already."""
    tails: list[int] = []  # least last column of a chain of each length
    ends: list[int] = []  # its index
    previous: list[int] = []
    for k, column in enumerate(columns):
        length = bisect_left(tails, column)
        previous.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [column]
        ends[length : length + 1] = [k]
    chain = []
    k = ends[-1] if ends else -1
    while k >= 0:
        chain.append((rows[k], columns[k]))
        k = previous[k]
    return chain[::-1]
