"""The alignment of a text as a value: words, lines and regions with seconds and scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.align.emission import DecodedLetters, TargetEmission, decoded_text
from mms_engine.align.regions import Passage
from mms_engine.align.search import LetterSpans
from mms_engine.align.target import Shortage, TextLetters
from mms_engine.align.times import WordFrames
from mms_engine.text.targets import TargetText, TargetWord
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import AlignedCharacter, AlignedLine, AlignedWord, Region

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ResultBuilder:
    """Conversion of frames to seconds, and of letters to what was written."""

    text: TargetText
    letters: TextLetters
    spans: LetterSpans
    frame_seconds: float

    def words(self, frames: WordFrames, trusted: BoolArray, *, filled: bool) -> list[AlignedWord]:
        """Return all words."""
        rows = zip(
            self.text.words,
            frames.starts.tolist(),
            frames.ends.tolist(),
            frames.aligned.tolist(),
            trusted.tolist(),
            self.letters.first[:-1].tolist(),
            strict=True,
        )
        found = []
        for word, start, end, is_aligned, is_trusted, first in rows:
            letters = slice(first, first + len(word.letters) if is_aligned else first)
            characters = self._characters(word, first, start, end, filled) if is_aligned else ()
            found.append(
                AlignedWord(
                    text=self.text.written(word),
                    start=self._seconds(start),
                    end=self._seconds(end),
                    score=self._score(letters),
                    trusted=is_trusted,
                    aligned=is_aligned,
                    line=word.line,
                    characters=tuple(characters),
                )
            )
        return found

    def _characters(
        self, word: TargetWord, first: int, start: float, end: float, filled: bool
    ) -> list[AlignedCharacter]:
        groups: list[tuple[int, int, slice]] = []  # of letters that share characters
        for i, letter in enumerate(word.letters, first):
            if groups and letter.start < groups[-1][1]:
                begin, stop, letters = groups[-1]
                groups[-1] = (begin, max(stop, letter.end), slice(letters.start, i + 1))
            else:
                groups.append((letter.start, letter.end, slice(i, i + 1)))
        starts = [float(self.spans.starts[letters.start]) for _, _, letters in groups]
        ends = [float(self.spans.ends[letters.stop - 1]) for _, _, letters in groups]
        if filled:
            middles = [(a + b) / 2 for a, b in zip(ends[:-1], starts[1:], strict=True)]
            starts, ends = [start, *middles], [*middles, end]
        return [
            AlignedCharacter(
                self.text.source[begin:stop],
                self._seconds(starts[k]),
                self._seconds(ends[k]),
                self._score(letters),
            )
            for k, (begin, stop, letters) in enumerate(groups)
        ]

    def lines(
        self, words: Sequence[AlignedWord], shortages: Sequence[Shortage]
    ) -> list[AlignedLine]:
        """Return all lines."""
        errors: dict[int, str] = {}
        for shortage in shortages:
            numbers = [
                word.line for word in self.text.words[shortage.first_word : shortage.last_word]
            ]
            for number in numbers:
                errors.setdefault(number, _describe(shortage, numbers[0], numbers[-1]))
        found: list[AlignedLine] = []
        word = 0
        for number, line in enumerate(self.text.lines):
            first = word
            while word < len(words) and words[word].line == number:
                word += 1
            own = words[first:word]
            end = found[-1].end if found else 0.0
            found.append(
                AlignedLine(
                    text=self.text.written(line),
                    start=own[0].start if own else end,
                    end=own[-1].end if own else end,
                    score=self._score(slice(*self.letters.first[[first, word]].tolist())),
                    trusted_share=self.trusted_share(own, first),
                    first_word=first,
                    last_word=word,
                    paragraph=line.paragraph,
                    error=errors.get(number),
                )
            )
        return found

    def trusted_share(self, words: Sequence[AlignedWord], first: int = 0) -> float:
        """Return the share of trusted words among those with letters, of words from `first` on."""
        flags = [word.trusted for i, word in enumerate(words, first) if self.text.words[i].letters]
        return round(sum(flags) / len(flags), 6) if flags else 1.0

    def regions(
        self,
        passages: Sequence[Passage],
        frames: WordFrames,
        decoded: DecodedLetters,
        emission: TargetEmission,
        vocabulary: Vocabulary,
    ) -> list[Region]:
        """Return the passages as regions, in order of time."""
        found = []
        for one in passages:
            spans = []
            if one.first_word < one.last_word and one.kind != "swapped":
                spans.append((frames.starts[one.first_word], frames.ends[one.last_word - 1]))
            if one.decoded.start < one.decoded.stop:
                first, last = one.decoded.start, one.decoded.stop - 1
                spans.append((decoded.starts[first], decoded.ends[last]))
            start, end = min(a for a, _ in spans), max(b for _, b in spans)
            heard = decoded_text(emission.best[math.floor(start) : math.ceil(end)], vocabulary)
            words = one.repeated_words or slice(one.first_word, one.last_word)
            found.append(
                Region(
                    kind=one.kind,
                    start=self._seconds(float(start)),
                    end=self._seconds(float(end)),
                    text=self._written(words),
                    decoded=heard,
                    first_word=one.first_word,
                    last_word=one.last_word,
                )
            )
        return sorted(found, key=lambda region: (region.start, region.first_word))

    def _written(self, words: slice) -> str:
        own = self.text.words[words]
        return self.text.source[own[0].start : own[-1].end] if own else ""

    def _score(self, letters: slice) -> float:
        frames = int((self.spans.ends[letters] - self.spans.starts[letters]).sum())
        if frames == 0:
            return 0.0
        mean = float(self.spans.sums[letters].sum()) / frames
        return round(min(1.0, math.exp(mean)), 6)

    def _seconds(self, frame: float) -> float:
        return round(frame * self.frame_seconds, 3)


def _describe(shortage: Shortage, first_line: int, last_line: int) -> str:
    if first_line == last_line:
        return f"line {first_line + 1} {shortage}"
    return f"lines {first_line + 1} to {last_line + 1}: the passage {shortage}"
