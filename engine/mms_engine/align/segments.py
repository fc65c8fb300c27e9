"""Segments of an alignment: its lines, or the speech between pauses, as clips of a corpus."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mms_engine.types import AlignedWord, Alignment, Float32Array, Region, SegmentUnit

_FOREIGN_SECONDS = 0.1
"""Speech without text in a segment, from which the segment is of no use for training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOptions:
    """Sizes of segments, and limits below or above which they are rejected."""

    unit: SegmentUnit = "line"
    """A segment per line of the alignment, or per span between pauses."""
    max_seconds: float = 20.0
    """Longest segment, padding included; longer ones are divided at their longest gaps."""
    pause_seconds: float = 0.4
    """Gap between words that divides segments of the unit `pause`."""
    padding_seconds: float = 0.2
    """Audio kept before and after the words, at most up to the middle of the gap."""
    min_score: float = 0.0
    """Lowest score of a segment, in [0, 1]."""
    min_trusted: float = 0.8
    """Lowest share of trusted words, in [0, 1]."""
    characters_per_second: tuple[float, float] = (2.0, 30.0)
    """Lowest and highest rate of speech, white space and punctuation included."""

    def __post_init__(self) -> None:
        for name in ("max_seconds", "pause_seconds", "spoken_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, it must be positive")
        if not 0 <= self.padding_seconds < float("inf"):
            raise ValueError(f"padding_seconds is {self.padding_seconds}, it must not be negative")
        for name in ("min_score", "min_trusted"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be in [0, 1]")
        low, high = self.characters_per_second
        if not 0 <= low < high:
            raise ValueError(f"characters_per_second is {low} to {high}, it must be a rising range")

    @property
    def spoken_seconds(self) -> float:
        """Longest segment without padding, in seconds."""
        return self.max_seconds - 2 * self.padding_seconds


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of the audio and its text."""

    text: str
    """Spelling of the text."""
    start: float
    """Seconds from the start of the audio (inclusive), padding included."""
    end: float
    """Seconds from the start of the audio (exclusive), padding included."""
    score: float
    """Mean score of its words, weighted by their duration, in [0, 1]."""
    trusted_share: float
    """Share of trusted words."""
    rejected: str | None = None
    """Reason for which it is not fit for a corpus; `None` if it is."""


def segments(alignment: Alignment, options: SegmentOptions) -> list[Segment]:
    """Return the segments of an alignment, in order of time and not overlapping.

    Every word of the text is in one segment; rejected ones are among them.
    """
    groups = [
        part
        for group in _groups(alignment, options)
        for part in _divide(alignment.words, group, options.spoken_seconds)
    ]
    return [_segment(alignment, groups, index, options) for index in range(len(groups))]


def _groups(alignment: Alignment, options: SegmentOptions) -> Iterator[range]:
    """Yield the words of each unit."""
    if options.unit == "line":
        for line in alignment.lines:
            if line.last_word > line.first_word:
                yield range(line.first_word, line.last_word)
        return
    words, first = alignment.words, 0
    for index in range(1, len(words)):
        if words[index].start - words[index - 1].end >= options.pause_seconds:
            yield range(first, index)
            first = index
    if words:
        yield range(first, len(words))


def _divide(words: Sequence[AlignedWord], group: range, max_seconds: float) -> list[range]:
    """Divide words at their longest gaps until each part is short enough, or a single word."""
    done: list[range] = []
    waiting = [group]
    while waiting:
        part = waiting.pop()
        if len(part) < 2 or words[part[-1]].end - words[part[0]].start <= max_seconds:
            done.append(part)
            continue
        middle = (words[part[0]].start + words[part[-1]].end) / 2
        place = max(
            part[1:],
            key=lambda i: (words[i].start - words[i - 1].end, -abs(words[i].start - middle)),
        )
        waiting += [range(place, part.stop), range(part.start, place)]
    return done


def _segment(
    alignment: Alignment, groups: Sequence[range], index: int, options: SegmentOptions
) -> Segment:
    group, words = groups[index], alignment.words
    first, last = words[group[0]], words[group[-1]]
    before = words[groups[index - 1][-1]].end if index else 0.0
    is_last = index + 1 == len(groups)
    after = alignment.seconds if is_last else words[groups[index + 1][0]].start
    # Half the gap each; all of it at the ends of the audio.
    room_before = (first.start - before) / (2 if index else 1)
    room_after = (after - last.end) / (1 if is_last else 2)
    start = first.start - min(max(room_before, 0.0), options.padding_seconds)
    end = last.end + min(max(room_after, 0.0), options.padding_seconds)
    inside = [words[i] for i in group]
    segment = Segment(
        text=_text(alignment, group),
        start=start,
        end=end,
        score=_score(inside),
        trusted_share=sum(word.trusted for word in inside) / len(inside),
    )
    reason = _fault(segment, last.end - first.start, alignment.regions, options)
    return replace(segment, rejected=reason)


def _text(alignment: Alignment, group: range) -> str:
    """Return the words as written, with line breaks as spaces."""
    parts: list[str] = []
    for i in group:
        word = alignment.words[i]
        line = alignment.lines[word.line]
        is_whole = group.start <= line.first_word and line.last_word <= group.stop
        if is_whole and i == line.first_word:
            parts.append(" ".join(line.text.split()))
        elif not is_whole:
            has_spaces = any(character.isspace() for character in line.text)
            parts.append(word.text if has_spaces or not parts else f"\0{word.text}")
    return " ".join(parts).replace(" \0", "").replace("\0", "")


def _score(words: Sequence[AlignedWord]) -> float:
    seconds = sum(word.end - word.start for word in words)
    if seconds <= 0:
        return 0.0
    return sum(word.score * (word.end - word.start) for word in words) / seconds


def _fault(
    segment: Segment, spoken: float, regions: Iterable[Region], options: SegmentOptions
) -> str | None:
    """Return the reason to reject a segment whose words take `spoken` seconds."""
    rate = len(segment.text) / spoken if spoken > 0 else float("inf")
    low, high = options.characters_per_second
    if spoken > options.spoken_seconds:
        return f"one word of {spoken:.1f} s, the maximum is {options.spoken_seconds:g} s"
    for region in regions:
        shared = min(region.end, segment.end) - max(region.start, segment.start)
        if region.kind in ("missing", "repeated") and shared > _FOREIGN_SECONDS:
            return f"{shared:.1f} s of speech that the text lacks"
    if segment.trusted_share < options.min_trusted:
        return f"{segment.trusted_share:.0%} trusted words, below {options.min_trusted:.0%}"
    if segment.score < options.min_score:
        return f"score {segment.score:.2f}, below {options.min_score:g}"
    if not low <= rate <= high:
        return f"{rate:.1f} characters per second, outside {low:g} to {high:g}"
    return None


def cut(
    pieces: Iterable[Float32Array], sample_rate: int, parts: Sequence[Segment]
) -> Iterator[Float32Array]:
    """Yield the samples `[N]` of each segment, reading the audio once.

    Args:
        pieces: Consecutive samples, arrays of shape `[N]`.
        sample_rate: Samples per second.
        parts: Segments in order of time, not overlapping.
    """
    spans = [(round(p.start * sample_rate), round(p.end * sample_rate)) for p in parts]
    held: list[Float32Array] = []
    position, number = 0, 0
    for piece in pieces:
        while number < len(spans):
            start, end = spans[number]
            held.append(piece[max(start - position, 0) : max(end - position, 0)])
            if end > position + piece.size:
                break
            yield np.concatenate(held)
            held, number = [], number + 1
        position += piece.size
    for _ in spans[number:]:  # rounded up to behind the last sample
        yield np.concatenate(held) if held else np.zeros(0, np.float32)
        held = []
