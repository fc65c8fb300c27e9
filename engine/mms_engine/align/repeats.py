"""Passages that are spoken twice and written once, or the reverse.

Of two equal passages either may be the one without counterpart, and so may the end of the first
with the start of the second. Here such a gap is moved to where a line or a word begins.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.align.emission import DecodedLetters
from mms_engine.align.matching import MIN_GAP, Gap, Int64Array, Matching, match_letters
from mms_engine.align.target import TextLetters

BoolArray = npt.NDArray[np.bool_]

SAME = 0.5
"""Share of equal letters from which two passages say the same; unrelated ones have a tenth."""
_TOLERANCE = 0.25
"""Share of letters that a move may lose: two readings are not decoded alike."""
_MAX_CELLS = 1 << 26
"""Bound on the work of comparing passages."""


class Comparer:
    """Comparison of passages, within a bound on the work."""

    def __init__(self) -> None:
        self._cells = _MAX_CELLS

    def compare(self, one: Int64Array, other: Int64Array) -> Matching:
        """Return the matching of two passages; one without pairs once the bound is reached."""
        cells = len(one) * len(other)
        if cells > self._cells:
            other, cells = other[:0], 0
        self._cells -= cells
        return match_letters(one, other)

    def is_same(self, one: Int64Array, other: Int64Array) -> bool:
        """Return whether the letters of `one` are in `other`, in order."""
        if not SAME * len(one) <= len(other):
            return False
        return bool(self.compare(one, other).equal.mean() >= SAME)

    def beside(
        self, own: Int64Array, before: Int64Array, after: Int64Array
    ) -> tuple[Matching, Matching] | None:
        """Return the matchings of `before` and `after` with `own`, if that is a rotation of both.

        A repeated passage begins as what stands behind it does, up to some letter, and from there
        on ends as what stands before it does.
        """
        found = self.compare(before, own), self.compare(after, own)
        offsets = len(before) - len(own), 0
        near = np.zeros((2, len(own) + 1), np.int64)
        for k, (matching, offset) in enumerate(zip(found, offsets, strict=True)):
            letters = np.flatnonzero(matching.equal)
            places = matching.partner[letters]
            aside = np.abs(letters - places - offset)
            near[k, places[aside <= MIN_GAP + _TOLERANCE * len(own)] + 1] = 1
        ends_like_before = np.cumsum(near[0, ::-1])[::-1]
        begins_like_after = np.cumsum(near[1])
        # Entry s of the sums: the letters from s on, and those before s.
        from_before = np.append(ends_like_before[1:], 0)
        share = (begins_like_after + from_before).max() / len(own)
        return found if share >= SAME else None


@dataclass(frozen=True, slots=True)
class _Move:
    """A gap at another place."""

    gap: Gap
    letters: slice
    """Letters of the text whose partners change."""
    partner: Int64Array
    begins_line: bool
    pause: int
    """Frames without letters before and after the decoded letters of the gap."""

    @property
    def rank(self) -> tuple[bool, int]:
        """The better place is greater."""
        return self.begins_line, self.pause


class RepeatSettler:
    """Move of gaps of repeated passages to the start of a line or word."""

    def __init__(
        self,
        letters: TextLetters,
        line_starts: BoolArray,
        decoded: DecodedLetters,
        comparer: Comparer,
    ) -> None:
        """Take both sequences.

        Args:
            letters: Letters of the text.
            line_starts: Shape `[words]`: whether a word is the first of its line.
            decoded: The decoded letters.
            comparer: Comparison of passages.
        """
        self._letters = letters
        self._decoded = decoded
        self._comparer = comparer
        starts = np.zeros(len(letters.tokens) + 1, np.bool_)
        lines = np.zeros(len(letters.tokens) + 1, np.bool_)
        starts[letters.first] = True
        lines[letters.first[:-1][line_starts]] = True
        lines[-1] = True
        self._word_starts, self._line_starts = starts, lines

    def settle(self, matching: Matching) -> tuple[Matching, frozenset[Gap]]:
        """Return the matching with such gaps moved, and these gaps."""
        partner, gaps = matching.partner.copy(), list(matching.gaps)
        repeated = set()
        for i, gap in enumerate(gaps):
            if gap.decoded_size < MIN_GAP:
                if not self._is_written_twice(gap):
                    continue
                moves = self._text_moves(gap, partner)
            elif gap.text_size < MIN_GAP:
                found = self._decoded_moves(gap, partner)
                if found is None:
                    continue
                moves = found
            else:
                continue
            lowest = gaps[i - 1].text_end if i else 0
            highest = gaps[i + 1].text_start if i + 1 < len(gaps) else len(partner)
            moves = [
                move
                for move in moves
                if lowest <= min(move.gap.text_start, move.letters.start)
                and max(move.gap.text_end, move.letters.stop) <= highest
            ]
            if moves:
                best = max(moves, key=lambda move: move.rank)
                partner[best.letters] = best.partner
                gaps[i] = best.gap
            repeated.add(gaps[i])
        tokens, equal = self._letters.tokens, np.zeros(len(partner), np.bool_)
        paired = partner >= 0
        equal[paired] = tokens[paired] == self._decoded.tokens[partner[paired]]
        return Matching(partner, equal, tuple(gaps)), frozenset(repeated)

    def _is_written_twice(self, gap: Gap) -> bool:
        tokens, size = self._letters.tokens, gap.text_size + gap.text_size // 2
        return (
            self._comparer.beside(
                tokens[gap.text_start : gap.text_end],
                tokens[max(0, gap.text_start - size) : gap.text_start],
                tokens[gap.text_end : gap.text_end + size],
            )
            is not None
        )

    def _text_moves(self, gap: Gap, partner: Int64Array) -> list[_Move]:
        """Return the best move of a gap within text that is written twice, if there is one."""
        found = self._period(gap)
        if found is None:
            return []
        first, period, size = found
        # Wherever the gap is in it, the same letters are left.
        end = first + size + period
        places = np.flatnonzero(self._word_starts[first : first + size + 1]) + first
        if not len(places):
            return []
        place = min(
            places.tolist(), key=lambda at: (not self._line_starts[at], abs(at - gap.text_start))
        )
        before, after = partner[:first], partner[end:]
        before, after = before[before >= 0], after[after >= 0]
        start = int(before[-1]) + 1 if len(before) else 0
        stop = int(after[0]) if len(after) else len(self._decoded.tokens)
        left = np.concatenate(
            [self._letters.tokens[first:place], self._letters.tokens[place + period : end]]
        )
        matching = self._comparer.compare(left, self._decoded.tokens[start:stop])
        own = np.where(matching.partner >= 0, matching.partner + start, -1)
        values = np.insert(own, place - first, np.full(period, -1))
        known = own[: place - first][own[: place - first] >= 0]
        at = int(known[-1]) + 1 if len(known) else start
        moved = Gap(place, place + period, at, at)
        return [_Move(moved, slice(first, end), values, bool(self._line_starts[place]), 0)]

    def _period(self, gap: Gap) -> tuple[int, int, int] | None:
        """Return where a text around a gap begins to repeat, after how many letters, how long."""
        tokens = self._letters.tokens
        around = range(-MIN_GAP + 1, MIN_GAP)
        for period in sorted(
            (gap.text_size + step for step in around), key=lambda p: abs(p - gap.text_size)
        ):
            low = max(0, gap.text_start - period)
            high = min(len(tokens), gap.text_end + period)
            same = tokens[low : high - period] == tokens[low + period : high]
            edges = np.flatnonzero(np.diff(same.astype(np.int8), prepend=0, append=0))
            sizes = edges[1::2] - edges[::2]
            if len(sizes) and sizes.max() >= period:
                return low + int(edges[2 * sizes.argmax()]), period, int(sizes.max())
        return None

    def _decoded_moves(self, gap: Gap, partner: Int64Array) -> list[_Move] | None:
        """Return the moves of a gap of decoded letters, `None` if they are not said twice."""
        tokens, at = self._letters.tokens, gap.text_start
        own = self._decoded.tokens[gap.decoded_start : gap.decoded_end]
        size = len(own) + len(own) // 2
        low, high = max(0, at - size), min(len(tokens), gap.text_end + size)
        beside = self._comparer.beside(own, tokens[low:at], tokens[at:high])
        if beside is None:
            return None
        back, forth = (
            np.where(each.partner >= 0, each.partner + gap.decoded_start, -1) for each in beside
        )
        found = []
        for place in (np.flatnonzero(self._word_starts[low : high + 1]) + low).tolist():
            letters = slice(min(place, at), max(place, at))
            values = back[place - low :] if place < at else forth[: place - at]
            old = partner[letters]
            if not self._is_as_good(letters, values, old):
                continue
            known, known_before = values[values >= 0], old[old >= 0]
            start, end = gap.decoded_start, gap.decoded_end
            if place < at and len(known) and len(known_before):
                start, end = int(known_before[0]), int(known[0])
            elif place > at and len(known) and len(known_before):
                start, end = int(known[-1]) + 1, int(known_before[-1]) + 1
            if end - start < MIN_GAP:
                continue
            moved = Gap(place, place, start, end)
            found.append(
                _Move(
                    moved, letters, values, bool(self._line_starts[place]), self._pause(start, end)
                )
            )
        return found

    def _is_as_good(self, letters: slice, values: Int64Array, old: Int64Array) -> bool:
        tokens = self._letters.tokens[letters]
        gained, lost = (
            np.count_nonzero((each >= 0) & (self._decoded.tokens[each] == tokens))
            for each in (values, old)
        )
        return bool(gained >= lost - _TOLERANCE * len(tokens))

    def _pause(self, start: int, end: int) -> int:
        starts, ends = self._decoded.starts, self._decoded.ends
        before = int(starts[start] - ends[start - 1]) if start else int(starts[start])
        after = int(starts[end] - ends[end - 1]) if end < len(starts) else 0
        return before + after
