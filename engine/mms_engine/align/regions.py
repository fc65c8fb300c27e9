"""Passages where text and audio differ."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mms_engine.align.emission import DecodedLetters
from mms_engine.align.matching import MIN_GAP, Gap
from mms_engine.align.repeats import Comparer
from mms_engine.align.target import TextLetters
from mms_engine.align.times import WordFrames
from mms_engine.text.targets import TargetText
from mms_engine.types import RegionKind

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_SPOKEN_LETTERS = 15
"""Letters as which a character without letters, such as a digit, may be spoken."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A region before it has times: words of the text, decoded letters, or both."""

    kind: RegionKind
    first_word: int
    last_word: int
    """Index behind the last word."""
    decoded: slice
    """Decoded letters; empty for none."""
    repeated_words: slice | None = None
    """Words that are spoken once more."""


class RegionFinder:
    """Search for passages that only the text has, or only the audio."""

    def __init__(
        self,
        text: TargetText,
        letters: TextLetters,
        decoded: DecodedLetters,
        frames: WordFrames,
        comparer: Comparer,
    ) -> None:
        """Take both sequences, and the frames of the words."""
        self._text = text
        self._letters = letters
        self._decoded = decoded
        self._frames = frames
        self._comparer = comparer

    def passages(self, gaps: Iterable[Gap], repeated: Container[Gap]) -> list[Passage]:
        """Return the passages.

        Args:
            gaps: Long gaps of the matching.
            repeated: Those of text that is written twice.
        """
        written = list(self._written(gaps, repeated))
        spoken = list(self._spoken())
        for i, one in enumerate(written):
            if one.kind != "extra":
                continue
            for other in spoken:
                if self._is_swapped(one, other):
                    written[i] = replace(one, kind="swapped", decoded=other.decoded)
                    spoken.remove(other)
                    break
        return [*written, *map(self._repeated, spoken)]

    def _written(self, gaps: Iterable[Gap], repeated: Container[Gap]) -> Iterator[Passage]:
        """Yield the words of gaps."""
        for gap in gaps:
            words = self._letters.gap_words(gap)
            if gap.text_size < MIN_GAP or words.start == words.stop:
                continue
            nothing = slice(gap.decoded_start, gap.decoded_start)
            if gap.decoded_size >= MIN_GAP:
                decoded = slice(gap.decoded_start, gap.decoded_end)
                yield Passage("untrusted", words.start, words.stop, decoded)
            elif gap in repeated:
                yield Passage("repeated", words.start, words.stop, nothing)
            else:
                yield Passage("extra", words.start, words.stop, nothing)

    def _spoken(self) -> Iterator[Passage]:
        """Yield what is decoded between two words, where it is more than an error."""
        aligned = np.flatnonzero(self._frames.aligned)
        ends = np.concatenate([[0.0], self._frames.ends[aligned]])
        starts = np.append(self._frames.starts[aligned], np.inf)
        firsts = np.searchsorted(self._decoded.starts, ends)
        lasts = np.searchsorted(self._decoded.ends, starts, side="right")
        words = np.append(aligned, len(self._text.words))
        for k in np.flatnonzero(lasts - firsts >= MIN_GAP).tolist():
            before = int(words[k - 1]) + 1 if k else 0
            silent = [w for w in self._text.words[before : words[k]] if not w.letters]
            characters = sum(word.end - word.start for word in silent)
            if lasts[k] - firsts[k] > _SPOKEN_LETTERS * characters:
                word = int(words[k])
                yield Passage("missing", word, word, slice(int(firsts[k]), int(lasts[k])))

    def _is_swapped(self, written: Passage, spoken: Passage) -> bool:
        letters = self._letters
        first, last = letters.first[[written.first_word, written.last_word]].tolist()
        own = self._decoded.tokens[spoken.decoded]
        return self._comparer.is_same(letters.tokens[first:last], own)

    def _repeated(self, passage: Passage) -> Passage:
        """Return a spoken passage as repeated if the text beside it says the same."""
        tokens, at = self._letters.tokens, int(self._letters.first[passage.first_word])
        own = self._decoded.tokens[passage.decoded]
        size = len(own) + len(own) // 2
        low, high = max(0, at - size), at + size
        if self._comparer.beside(own, tokens[low:at], tokens[at:high]) is None:
            return passage
        words = self._letters.words[low:high][self._comparer.compare(tokens[low:high], own).equal]
        again = slice(int(words[0]), int(words[-1]) + 1) if len(words) else None
        return replace(passage, kind="repeated", repeated_words=again)


def untrusted_passages(
    passages: Iterable[Passage], trusted: BoolArray, has_letters: BoolArray
) -> Iterator[Passage]:
    """Yield the runs of untrusted words that are in no passage.

    Words without letters neither begin nor end a run.
    """
    known = np.zeros(len(trusted), np.bool_)
    for passage in passages:
        known[passage.first_word : passage.last_word] = True
    open_words = np.flatnonzero(has_letters)
    doubtful = ~trusted[open_words] & ~known[open_words]
    edges = np.flatnonzero(np.diff(doubtful.astype(np.int8), prepend=0, append=0)).tolist()
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        start, end = int(open_words[first]), int(open_words[last - 1]) + 1
        yield Passage("untrusted", start, end, slice(0, 0))
