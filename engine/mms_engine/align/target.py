"""Target of an alignment: the letters of a text, with stars where the audio holds other things."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mms_engine.align.emission import DecodedLetters
from mms_engine.align.matching import ANCHOR, MIN_GAP, Gap, Matching
from mms_engine.text.targets import TargetText
from mms_engine.types import Stars
from mms_kernels import STAR

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NO_LETTER = -1
"""Entry of `Target.letters` for items other than letters."""


@dataclass(frozen=True, slots=True, eq=False)
class TextLetters:
    """Letters of all words of a text, one entry each."""

    tokens: Int64Array
    """Shape `[N]`: ids in the vocabulary."""
    words: Int64Array
    """Shape `[N]`: index of the word."""
    first: Int64Array
    """Shape `[words + 1]`: index of each word's first letter, and N."""

    @classmethod
    def of(cls, text: TargetText) -> "TextLetters":
        """Return the letters of a text."""
        sizes = [len(word.letters) for word in text.words]
        tokens = [letter.token for word in text.words for letter in word.letters]
        return cls(
            np.array(tokens, np.int64),
            np.repeat(np.arange(len(sizes)), sizes),
            np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]),
        )

    @property
    def has_letters(self) -> BoolArray:
        """Shape `[words]`: whether a word has letters."""
        return np.diff(self.first) > 0

    def gap_words(self, gap: Gap) -> slice:
        """Return the words of which more than half the letters are in a gap."""
        inside = self.words[gap.text_start : gap.text_end]
        if not len(inside):
            at_end = gap.text_start == len(self.words)
            word = len(self.first) - 1 if at_end else int(self.words[gap.text_start])
            return slice(word, word)
        first, last = int(inside[0]), int(inside[-1])
        if 2 * np.count_nonzero(inside == first) <= self.first[first + 1] - self.first[first]:
            first += 1
        if 2 * np.count_nonzero(inside == last) <= self.first[last + 1] - self.first[last]:
            last -= 1
        return slice(first, max(first, last + 1))


@dataclass(frozen=True, slots=True)
class Shortage:
    """Frames that words need, and those where they would stand."""

    first_word: int
    last_word: int
    """Index behind the last word."""
    letters: int
    repeats: int
    """Letters equal to the one before, between which a blank stands."""
    frames: int
    """Frames there."""

    typical: int = 0
    """Frames that they take at the rate of the speech, where they would fit."""

    def __str__(self) -> str:
        there = f"its place in the audio has {self.frames}"
        if self.typical:
            return (
                f"is not spoken: its {self.letters} letters take some {self.typical} frames at the "
                f"rate of this speech, {there}"
            )
        return (
            f"needs at least {self.letters + self.repeats} frames ({self.letters} letters, "
            f"{self.repeats} repeats), {there}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A part of the target, and the frames that it takes."""

    start: int
    """First item."""
    end: int
    """Item behind the last."""
    first_frame: int
    last_frame: int
    """Frame behind the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Items of the target: letters, word boundaries and stars."""

    tokens: Int64Array
    """Shape `[L]`: token ids, or `STAR`."""
    letters: Int64Array
    """Shape `[L]`: index of the letter, or `NO_LETTER`."""
    blocks: tuple[Block, ...]
    shortages: tuple[Shortage, ...]
    """Words that are left out."""


class TargetPlanner:
    """Composition of a target from a text and its matching with the decoded letters."""

    def __init__(
        self,
        text: TargetText,
        letters: TextLetters,
        decoded: DecodedLetters,
        matching: Matching,
        frames: int,
        boundary: int | None,
        stars: Stars = "edges",
    ) -> None:
        """Take the parts.

        Args:
            text: The text.
            letters: Its letters.
            decoded: Letters of the free decoding.
            matching: Pairs of both.
            frames: Frames of the audio.
            boundary: Token between words, if the vocabulary has one.
            stars: Places of stars besides those of long gaps.
        """
        self._text = text
        self._letters = letters
        self._decoded = decoded
        self._matching = matching
        self._frames = frames
        self._boundary = boundary
        self._star_before = self._stars(stars)
        self.letter_frames = self._typical_letter_frames()
        """Median of the frames from one letter to the next, 0 where nothing is paired."""
        self.shortages = {gap: each for gap in matching.gaps if (each := self._shortage(gap))}
        """Shortages of the gaps whose words do not fit between their neighbours."""

    def plan(self, block_frames: int, spoken: Container[Gap] = ()) -> Target:
        """Return the target.

        Args:
            block_frames: Frames from which a block may end.
            spoken: Gaps of which the words are part of the target, short of frames or not.
        """
        shortages = [each for gap, each in self.shortages.items() if gap not in spoken]
        cuts = list(self._cuts(block_frames))
        words = slice(0, len(self._text.words))
        while True:
            tokens, letters = self._items(words, self._left_out(shortages))
            blocks = self._blocks(letters, cuts)
            found = [each for block in blocks if (each := self._lack(tokens, letters, block))]
            if not found:
                return Target(tokens, letters, tuple(blocks), tuple(shortages))
            shortages += found

    def tokens_of(self, words: slice, target: Target, gap: Gap) -> tuple[Int64Array, Int64Array]:
        """Return the tokens of some words as they are in a target, and with those of a gap.

        Args:
            words: The words, without a star before the first or after the last, unless they are
                the text's.
            target: Target that lacks the words of the gap.
            gap: A gap.
        """
        left_out = self._left_out(target.shortages)
        without, _ = self._items(words, left_out)
        left_out[self._letters.gap_words(gap)] = False
        return without, self._items(words, left_out)[0]

    def _left_out(self, shortages: Iterable[Shortage]) -> BoolArray:
        """Return whether each word is left out."""
        found = np.zeros(len(self._text.words), np.bool_)
        for shortage in shortages:
            found[shortage.first_word : shortage.last_word] = True
        return found

    def _stars(self, stars: Stars) -> BoolArray:
        """Return whether a star stands before each word, and after the last."""
        words, lines = self._text.words, self._text.lines
        found = np.zeros(len(words) + 1, np.bool_)
        if stars != "none":
            found[[0, -1]] = self._is_open_at_edges()
        for i in range(1, len(words)):
            before, line = words[i - 1].line, words[i].line
            if stars == "lines":
                found[i] = before != line
            elif stars == "paragraphs":
                found[i] = lines[before].paragraph != lines[line].paragraph
        for gap in self._matching.gaps:
            if gap.decoded_size > 2 * gap.text_size:
                words_there = self._letters.gap_words(gap)
                found[self._nearest_word(gap.text_start)] = True
                if gap.text_size:
                    found[words_there.stop] = True
        return found

    def _is_open_at_edges(self) -> tuple[bool, bool]:
        """Return whether anything is decoded before the first pair, and after the last.

        Elsewhere a star would only let the first and the last words stray.
        """
        known = self._matching.partner[self._matching.partner >= 0]
        if not len(known):
            return True, True
        return bool(known[0] > 0), bool(known[-1] < len(self._decoded.tokens) - 1)

    def _nearest_word(self, letter: int) -> int:
        """Return the word before which a star stands that belongs before a letter."""
        first = self._letters.first
        if letter >= len(self._letters.words):
            return len(first) - 1
        word = int(self._letters.words[letter])
        begin, end = first[word], first[word + 1]
        return word if letter - begin <= end - letter else word + 1

    def _shortage(self, gap: Gap) -> Shortage | None:
        """Return what the words of a gap lack, if they do not fit between their neighbours."""
        words = self._letters.gap_words(gap)
        first, last = self._letters.first[[words.start, words.stop]].tolist()
        if first == last:
            return None
        partner, decoded = self._matching.partner, self._decoded
        before = np.flatnonzero(partner[:first] >= 0)
        after = np.flatnonzero(partner[last:] >= 0)
        start = int(decoded.ends[partner[before[-1]]]) if len(before) else 0
        end = int(decoded.starts[partner[last + after[0]]]) if len(after) else self._frames
        tokens, frames = self._letters.tokens[first:last], max(0, end - start)
        boundaries = (words.stop - words.start - 1) * (self._boundary is not None)
        repeats = int(np.count_nonzero(tokens[1:] == tokens[:-1]))
        found = Shortage(words.start, words.stop, len(tokens), repeats, frames)
        if len(tokens) + repeats + boundaries > frames:
            return found
        # Words that would fit only in a hurry, where nothing is decoded, would crowd others.
        typical = round(len(tokens) * self.letter_frames)
        if gap.decoded_size < MIN_GAP and frames < typical:
            return replace(found, typical=typical)
        return None

    def _typical_letter_frames(self) -> float:
        """Return `letter_frames`."""
        partner = self._matching.partner
        together = (partner[:-1] >= 0) & (partner[1:] == partner[:-1] + 1)
        starts = self._decoded.starts[partner[:-1][together] + 1]
        frames = starts - self._decoded.starts[partner[:-1][together]]
        return float(np.median(frames)) if len(frames) else 0.0

    def _cuts(self, block_frames: int) -> Iterator[tuple[int, int]]:
        """Yield letters and frames at which the target may be divided.

        Within `ANCHOR` letters that the model decodes as written, the best path of the whole text
        runs through these letters' own frames.
        """
        partner = self._matching.partner
        equal = self._matching.equal
        follows = np.zeros(len(partner), np.bool_)
        follows[1:] = equal[1:] & equal[:-1] & (partner[1:] == partner[:-1] + 1)
        begins = np.flatnonzero(~follows)
        last_frame = 0
        for begin, end in zip(begins, np.append(begins[1:], len(partner)), strict=True):
            middle = begin + ANCHOR // 2
            while middle + ANCHOR // 2 <= end:
                frame = int(self._decoded.starts[partner[middle]])
                same_word = self._letters.words[middle] == self._letters.words[middle - 1]
                if frame >= last_frame + block_frames and same_word:
                    yield int(middle), frame
                    last_frame = frame
                middle += 1

    def _items(self, words: slice, left_out: BoolArray) -> tuple[Int64Array, Int64Array]:
        """Return tokens and letters of some words; stars at their edges only at the text's."""
        tokens: list[int] = []
        letters: list[int] = []
        first_letters = self._letters.first[words.start : words.stop + 1].tolist()
        for word, first, last in zip(
            range(words.start, words.stop), first_letters[:-1], first_letters[1:], strict=True
        ):
            is_star = self._star_before[word] and (tokens or word == 0)
            if (is_star or first == last) and (not tokens or tokens[-1] != STAR):
                tokens.append(STAR)
                letters.append(NO_LETTER)
            if first == last or left_out[word]:
                continue
            if self._boundary is not None and tokens and tokens[-1] != STAR:
                tokens.append(self._boundary)
                letters.append(NO_LETTER)
            tokens += self._letters.tokens[first:last].tolist()
            letters += range(first, last)
        at_end = words.stop == len(self._text.words)
        if at_end and self._star_before[-1] and (not tokens or tokens[-1] != STAR):
            tokens.append(STAR)
            letters.append(NO_LETTER)
        return np.array(tokens, np.int64), np.array(letters, np.int64)

    def _blocks(self, letters: Int64Array, cuts: list[tuple[int, int]]) -> list[Block]:
        places = {letter: item for item, letter in enumerate(letters.tolist()) if letter >= 0}
        ends = [(places[letter], frame) for letter, frame in cuts if letter in places]
        blocks = []
        item = frame = 0
        for next_item, next_frame in [*ends, (len(letters), self._frames)]:
            blocks.append(Block(item, next_item, frame, next_frame))
            item, frame = next_item, next_frame
        return blocks

    def _lack(self, tokens: Int64Array, letters: Int64Array, block: Block) -> Shortage | None:
        """Return what the words wholly in a block lack."""
        items = tokens[block.start : block.end]
        repeats = int(np.count_nonzero(items[1:] == items[:-1]))
        frames = block.last_frame - block.first_frame
        inside = letters[block.start : block.end]
        inside = inside[inside >= 0]
        if len(items) + repeats <= frames or not len(inside):
            return None
        words = self._letters.words[inside]
        first, last = int(words[0]), int(words[-1]) + 1
        # Words that a cut divides are decoded as written, and fit.
        first += int(inside[0] != self._letters.first[first])
        last -= int(inside[-1] + 1 != self._letters.first[last])
        if first >= last:
            return None
        own = inside[(words[: len(inside)] >= first) & (words < last)]
        size = len(own)
        return Shortage(first, last, size, repeats, frames - (len(items) - size))
