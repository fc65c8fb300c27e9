"""Subtitle cues, sized for reading."""

from collections.abc import Iterator
from dataclasses import dataclass

from mms_engine.formats.timed_text import LINES, WORDS, Interval, TimedText

# Limits of a cue, after common subtitle guides.
PAUSE_SECONDS = 0.7
"""Silence after which a new cue begins."""
MAX_CHARACTERS = 84
"""Two lines of 42."""
MAX_SECONDS = 7.0


@dataclass(frozen=True, slots=True)
class Cue:
    """A text and the span of time it is shown."""

    text: str
    start: float
    """Seconds (inclusive)."""
    end: float
    """Seconds (exclusive)."""


def cues(timed: TimedText) -> list[Cue]:
    """Divide the words into cues, in order of time and without overlap.

    A cue contains words of one line only, if the text has lines.
    """
    groups = _group(timed.intervals(WORDS), _breaks(timed), timed.joiner)
    return [
        Cue(timed.joiner.join(word.text for word in group), group[0].start, group[-1].end)
        for group in groups
    ]


def _breaks(timed: TimedText) -> list[float]:
    """Return the starts of the lines, in order."""
    return [line.start for line in timed.intervals(LINES)]


def _group(
    words: tuple[Interval, ...], breaks: list[float], joiner: str
) -> Iterator[list[Interval]]:
    group: list[Interval] = []
    line = 0
    for word in words:
        is_new_line = False
        while line < len(breaks) and breaks[line] <= word.start:
            line, is_new_line = line + 1, True
        if group and (is_new_line or not _fits(group, word, joiner)):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _fits(group: list[Interval], word: Interval, joiner: str) -> bool:
    characters = len(joiner.join([*(other.text for other in group), word.text]))
    return (
        word.start - group[-1].end < PAUSE_SECONDS
        and word.end - group[0].start <= MAX_SECONDS
        and characters <= MAX_CHARACTERS
    )
