"""Best path of a target through an emission, and how well the audio confirms its words."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import mms_kernels
from mms_engine.align.emission import Int32Array, Int64Array, TargetEmission
from mms_engine.align.matching import Gap
from mms_engine.align.target import NO_LETTER, Target, TargetPlanner, TextLetters
from mms_engine.errors import AlignmentError
from mms_kernels import STAR, forced_align

Float64Array = npt.NDArray[np.float64]

TRUSTED_MARGIN = -3.0
"""Least margin of a trusted word: see `word_margins`.

At this margin as many spoken words are rejected as other words in their place accepted, 4.6 % each:
139 held-out recordings of the demo model in five languages (19 % character errors), 891 words, and
417 times another word of the language, of the same length give or take a letter, in place of one.
"""
STRAY_LETTERS = 4
"""Median distances of letters from which one that is not decoded is far from its word."""
_MAX_CELLS = 1 << 38
"""Frames times letters of one block: about two minutes of work on one core."""
_NEIGHBOURS = 8
"""Words on each side of a gap that its words may displace."""
_MAX_GAP_CELLS = 1 << 26
"""Frames times letters of a gap and its neighbours, up to which both readings are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class LetterSpans:
    """Frames of each letter of a text; those of letters that were not aligned are empty."""

    starts: Int64Array
    """Shape `[N]`: first frame."""
    ends: Int64Array
    """Shape `[N]`: frame behind the last."""
    sums: Float64Array
    """Shape `[N]`: sum of the natural-log probabilities over these frames."""

    @property
    def aligned(self) -> npt.NDArray[np.bool_]:
        """Shape `[N]`: whether a letter was aligned."""
        return self.ends > self.starts


def find_spans(emission: TargetEmission, target: Target, letters: int) -> LetterSpans:
    """Return the frames of each of the text's letters on the best path of each block.

    Raises:
        AlignmentError: a block is too large for an exact search.
    """
    spans = LetterSpans(
        np.zeros(letters, np.int64), np.zeros(letters, np.int64), np.zeros(letters, np.float64)
    )
    best_sums = _cumulative(emission.best_log_probs)
    for block in target.blocks:
        frames, size = block.last_frame - block.first_frame, block.end - block.start
        if frames * size > _MAX_CELLS:
            raise AlignmentError(
                f"{frames} frames and {size} letters have nothing in common by which the search "
                "could be divided, and are too many to search at once: check that the text and "
                "its language belong to the audio, or split both"
            )
        if size == 0:
            continue
        tokens = target.tokens[block.start : block.end]
        columns = np.array([emission.columns.get(token, STAR) for token in tokens.tolist()])
        log_probs = emission.log_probs[block.first_frame : block.last_frame]
        (found,) = forced_align(log_probs, columns, star=STAR, kind="log_probs")
        best = emission.best[block.first_frame : block.last_frame]
        starts, ends = _without_star(tokens, best, found)
        more = best_sums[block.first_frame + ends] - best_sums[block.first_frame + found.ends]
        more += best_sums[block.first_frame + found.starts] - best_sums[block.first_frame + starts]
        sums = found.scores * (found.ends - found.starts) + more
        own = target.letters[block.start : block.end]
        kept = np.flatnonzero(own != NO_LETTER)
        spans.starts[own[kept]] = starts[kept] + block.first_frame
        spans.ends[own[kept]] = ends[kept] + block.first_frame
        spans.sums[own[kept]] = sums[kept]
    return spans


def _without_star(
    tokens: Int64Array, best: Int32Array, found: mms_kernels.Alignment
) -> tuple[Int64Array, Int64Array]:
    """Return the spans with the frames that a star took of the letters beside it.

    A star is as likely as anything, so it takes all frames of such a letter but one. Those on
    which the letter is the most likely token are the letter's.
    """
    starts, ends = found.starts.copy(), found.ends.copy()
    for star in np.flatnonzero(tokens == STAR).tolist():
        first, last = int(starts[star]), int(ends[star])
        if star > 0:
            ends[star - 1] += _run(best[ends[star - 1] : last], tokens[star - 1])
            first = max(first, int(ends[star - 1]))
        if star + 1 < len(tokens):
            starts[star + 1] -= _run(best[first : starts[star + 1]][::-1], tokens[star + 1])
    return starts, ends


def _run(best: Int32Array, token: int) -> int:
    """Return the length of the run of a token with which some frames begin."""
    other = np.flatnonzero(best != token)
    return int(other[0]) if len(other) else len(best)


def find_text(
    emission: TargetEmission, letters: TextLetters, planner: TargetPlanner, block_frames: int
) -> tuple[Target, LetterSpans, frozenset[Gap]]:
    """Return the target, the frames of its letters, and gaps whose words are spoken all the same.

    Words that do not fit between their neighbours are left out, unless the audio confirms them.

    Raises:
        AlignmentError: a block is too large for an exact search.
    """
    spoken: frozenset[Gap] = frozenset()
    while True:
        target = planner.plan(block_frames, spoken)
        spans = find_spans(emission, target, len(letters.tokens))
        left_out = [gap for gap in planner.shortages if gap not in spoken]
        found = _spoken_gaps(emission, letters, planner, target, spans, left_out)
        if not found:
            return target, spans, spoken
        spoken |= frozenset(found)


def _spoken_gaps(
    emission: TargetEmission,
    letters: TextLetters,
    planner: TargetPlanner,
    target: Target,
    spans: LetterSpans,
    gaps: Iterable[Gap],
) -> list[Gap]:
    """Return gaps of which the words were left out of a target though the audio confirms them.

    The matching is one of letters; where the model errs much, it pairs letters of other words, and
    leaves too few frames for some. Both readings of the words around a gap are compared, with its
    words and without, in the frames that these words take. A gap is spoken if its words are not
    worse by more than a trusted word's margin. Of gaps that lie together, one is returned.
    """
    found: list[Gap] = []
    last_frame = 0
    count = len(letters.first) - 1
    for gap in gaps:
        own = letters.gap_words(gap)
        words = slice(max(0, own.start - _NEIGHBOURS), min(own.stop + _NEIGHBOURS, count))
        start, end = _frames_of(words, letters, spans, emission.frames)
        if start < last_frame:
            continue
        without, whole = planner.tokens_of(words, target, gap)
        repeats = int(np.count_nonzero(whole[1:] == whole[:-1]))
        if len(whole) + repeats > end - start or len(whole) * (end - start) > _MAX_GAP_CELLS:
            continue
        log_probs = emission.log_probs[start:end]
        columns = [
            np.array([emission.columns.get(token, STAR) for token in tokens.tolist()])
            for tokens in (without, whole)
        ]
        lost, kept = (
            forced_align(log_probs, each, star=STAR, kind="log_probs")[0].score
            if len(each)
            else float(log_probs[:, 0].sum())
            for each in columns
        )
        size = int(letters.first[own.stop] - letters.first[own.start])
        if kept - lost >= TRUSTED_MARGIN * (size + own.stop - own.start):
            found.append(gap)
            last_frame = end
    return found


def _frames_of(
    words: slice, letters: TextLetters, spans: LetterSpans, frames: int
) -> tuple[int, int]:
    """Return the frames of some words, or those between their neighbours if none is aligned."""
    aligned = np.flatnonzero(spans.aligned)
    first, last = np.searchsorted(aligned, letters.first[[words.start, words.stop]]).tolist()
    before, after = aligned[:first], aligned[last:]
    start = int(spans.ends[before[-1]]) if len(before) else 0
    end = int(spans.starts[after[0]]) if len(after) else frames
    if first < last:
        start = int(spans.starts[aligned[first]]) if len(before) else start
        end = int(spans.ends[aligned[last - 1]]) if len(after) else end
    return start, end


def gather_letters(
    emission: TargetEmission, letters: TextLetters, spans: LetterSpans, most_frames: float
) -> LetterSpans:
    """Return the spans with stray letters at the edges of words moved beside the others.

    A letter that would not be trusted as a word may lie anywhere in a pause, where its probability
    happens to be greatest: it says nothing about the end of its word. So may a single one that
    would be, where several of its word are on the other side: the next word may begin with it.

    Args:
        emission: Emission.
        letters: Letters of the text.
        spans: Their frames.
        most_frames: Frames between two letters of a word, from which such letters are strays.
    """
    starts, ends = spans.starts.copy(), spans.ends.copy()
    best = _cumulative(emission.best_log_probs)
    confirmed = (spans.sums - best[ends] + best[starts]) / 2 >= TRUSTED_MARGIN
    aligned = spans.aligned
    found = (letters.words[1:] == letters.words[:-1]) & aligned[1:] & aligned[:-1]
    for after in (np.flatnonzero(found & (starts[1:] - ends[:-1] > most_frames)) + 1).tolist():
        word = letters.words[after]
        first, last = letters.first[[word, word + 1]].tolist()
        before, behind = confirmed[first:after].sum(), confirmed[after:last].sum()
        if before > behind and behind <= 1:
            for k in range(after, last):
                starts[k] = ends[k - 1] + (letters.tokens[k] == letters.tokens[k - 1])
                ends[k] = starts[k] + 1
        elif behind > before and before <= 1:
            for k in range(after - 1, first - 1, -1):
                ends[k] = starts[k + 1] - (letters.tokens[k] == letters.tokens[k + 1])
                starts[k] = ends[k] - 1
    frames = np.maximum(1, spans.ends - spans.starts)
    return LetterSpans(starts, ends, spans.sums / frames * (ends - starts))


def word_margins(
    emission: TargetEmission, letters: TextLetters, spans: LetterSpans
) -> Float64Array:
    """Return how much less each word scores than the best tokens of the same frames.

    The score of a word is that of its path from its first letter's first frame to its last
    letter's last frame, blanks included. It is divided by the letters and one more, since a single
    error in a short word says little.

    Returns:
        Shape `[words]`: nats, at most 0; -inf for words that were not aligned.
    """
    best = _cumulative(emission.best_log_probs)
    blank = _cumulative(emission.log_probs[:, 0])
    margins = spans.sums - (best[spans.ends] - best[spans.starts])
    aligned = spans.aligned
    same = np.flatnonzero((letters.words[1:] == letters.words[:-1]) & (aligned[1:]))
    start, end = spans.ends[same], spans.starts[same + 1]
    margins[same] += (blank[end] - blank[start]) - (best[end] - best[start])
    sizes = np.diff(letters.first)
    found = np.full(len(sizes), -np.inf)
    words = np.flatnonzero(sizes > 0)
    if len(words):
        first = letters.first[:-1][words]
        totals = np.add.reduceat(margins, first) / (sizes[words] + 1)
        found[words[aligned[first]]] = np.minimum(0.0, totals[aligned[first]])
    return found


def _cumulative(values: npt.NDArray[np.float32]) -> Float64Array:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
