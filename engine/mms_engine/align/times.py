"""Frames of words: those of their letters, those of words without, and the sharing of gaps."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.align.emission import DecodedLetters
from mms_engine.align.search import LetterSpans
from mms_engine.align.target import TextLetters
from mms_engine.text.targets import TargetText

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]


LAST_SOUND_SECONDS = 0.06
"""Time for which a word's last sound goes on after its last letter's frames.

CTC ends a letter before its sound ends. Chosen on speech of espeak-ng in five languages, where 746
words end 49 ms early on average without it, and confirmed by a VITS voice: docs/align.md.
"""


@dataclass(frozen=True, slots=True, eq=False)
class WordFrames:
    """Spans of all words of a text; neither starts nor ends decrease."""

    starts: Float64Array
    """Shape `[words]`, in frames."""
    ends: Float64Array
    """Shape `[words]`, in frames."""
    aligned: BoolArray
    """Shape `[words]`: whether a word's letters were aligned."""

    def widened(self, before: float, after: float, frames: int, shared: BoolArray) -> "WordFrames":
        """Return the words with time of the gaps before and after them.

        Args:
            before: Most frames that a word takes of the gap before it, of which it leaves half to
                its neighbour.
            after: The same of the gap after it.
            frames: Frames of the audio.
            shared: Shape `[words + 1]`: whether the words beside the gap before each word, and
                after the last, take half of it however long it is.
        """
        gaps_before = self.starts - np.concatenate([[0.0], self.ends[:-1]])
        gaps_after = np.concatenate([self.starts[1:], [float(frames)]]) - self.ends
        share = np.full(len(gaps_before), 0.5)
        share[:1] = 1.0
        before_most = np.maximum(0.0, gaps_before) * share
        after_most = np.maximum(0.0, gaps_after) * np.concatenate([share[1:], [1.0]])
        return WordFrames(
            self.starts - np.where(shared[:-1], before_most, np.minimum(before, before_most)),
            self.ends + np.where(shared[1:], after_most, np.minimum(after, after_most)),
            self.aligned,
        )


def word_frames(
    text: TargetText, letters: TextLetters, spans: LetterSpans, decoded: DecodedLetters, frames: int
) -> WordFrames:
    """Return the frames of each word.

    Words that were not aligned share the gap between their neighbours, or what the model decodes
    in it, in proportion to their length.
    """
    count = len(text.words)
    starts, ends = np.zeros(count), np.zeros(count)
    aligned = letters.has_letters
    aligned[aligned] = spans.aligned[letters.first[:-1][aligned]]
    starts[aligned] = spans.starts[letters.first[:-1][aligned]]
    ends[aligned] = spans.ends[letters.first[1:][aligned] - 1]
    edges = np.flatnonzero(np.diff(aligned.astype(np.int8), prepend=1, append=1)).tolist()
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        begin = ends[first - 1] if first else 0.0
        end = starts[last] if last < count else float(frames)
        inside = decoded.within(int(begin), int(end))
        if inside.start < inside.stop:
            begin = float(decoded.starts[inside.start])
            end = min(end, float(decoded.ends[inside.stop - 1]))
        sizes = [word.end - word.start for word in text.words[first:last]]
        bounds = begin + (end - begin) * np.cumsum([0, *sizes]) / sum(sizes)
        starts[first:last], ends[first:last] = bounds[:-1], bounds[1:]
    return WordFrames(starts, ends, aligned)
