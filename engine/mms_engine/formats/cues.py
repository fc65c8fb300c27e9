"""Subtitle cues of a transcript, sized for reading."""

from collections.abc import Iterator
from dataclasses import dataclass

from mms_engine.types import Transcript, Word

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


def cues(transcript: Transcript) -> list[Cue]:
    """Divide a transcript into cues, in order of time and without overlap."""
    # In a script without spaces each token is a word, and words are joined without spaces.
    joiner = " " if len(transcript.words) < 2 or " " in transcript.text else ""
    groups = _group(transcript.words, joiner)
    return [
        Cue(joiner.join(word.text for word in group), group[0].start, group[-1].end)
        for group in groups
    ]


def _group(words: tuple[Word, ...], joiner: str) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and not _fits(group, word, joiner):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _fits(group: list[Word], word: Word, joiner: str) -> bool:
    characters = len(joiner.join([*(other.text for other in group), word.text]))
    return (
        word.start - group[-1].end < PAUSE_SECONDS
        and word.end - group[0].start <= MAX_SECONDS
        and characters <= MAX_CHARACTERS
    )
