"""Cutting a transcript into cues a viewer can read."""

from collections.abc import Iterator
from dataclasses import dataclass

from mms_engine.types import Transcript, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class CueOptions:
    """When a cue ends. The numbers are those of common subtitle guides."""

    pause_seconds: float = 0.7
    """A silence this long begins a new cue."""
    characters: int = 84
    """Two lines of 42."""
    seconds: float = 7.0
    """Longest time a cue stands."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A piece of text and when it is shown."""

    text: str
    start: float
    """Seconds (inclusive)."""
    end: float
    """Seconds (exclusive)."""


def cues(transcript: Transcript, options: CueOptions | None = None) -> list[Cue]:
    """Return the transcript in cues, in order of time, not overlapping."""
    # A script without spaces has each token as a word: its cues are joined without any either.
    joiner = " " if len(transcript.words) < 2 or " " in transcript.text else ""
    groups = _group(transcript.words, joiner, options or CueOptions())
    return [
        Cue(joiner.join(word.text for word in group), group[0].start, group[-1].end)
        for group in groups
    ]


def _group(words: tuple[Word, ...], joiner: str, options: CueOptions) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and not _goes_on(group, word, joiner, options):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _goes_on(group: list[Word], word: Word, joiner: str, options: CueOptions) -> bool:
    characters = len(joiner.join([*(other.text for other in group), word.text]))
    return (
        word.start - group[-1].end < options.pause_seconds
        and word.end - group[0].start <= options.seconds
        and characters <= options.characters
    )
