"""Subtitle cues of a transcript, sized for reading."""

from collections.abc import Iterator
from dataclasses import dataclass

from mms_engine.types import Transcript, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class CueOptions:
    """Limits of a cue; the defaults follow common subtitle guides."""

    pause_seconds: float = 0.7
    """Silence after which a new cue begins."""
    characters: int = 84
    """Maximum length: two lines of 42."""
    seconds: float = 7.0
    """Maximum duration."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A text and the span of time it is shown."""

    text: str
    start: float
    """Seconds (inclusive)."""
    end: float
    """Seconds (exclusive)."""


def cues(transcript: Transcript, options: CueOptions | None = None) -> list[Cue]:
    """Divide a transcript into cues, in order of time and without overlap."""
    # In a script without spaces each token is a word, and words are joined without spaces.
    joiner = " " if len(transcript.words) < 2 or " " in transcript.text else ""
    groups = _group(transcript.words, joiner, options or CueOptions())
    return [
        Cue(joiner.join(word.text for word in group), group[0].start, group[-1].end)
        for group in groups
    ]


def _group(words: tuple[Word, ...], joiner: str, options: CueOptions) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and not _fits(group, word, joiner, options):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _fits(group: list[Word], word: Word, joiner: str, options: CueOptions) -> bool:
    characters = len(joiner.join([*(other.text for other in group), word.text]))
    return (
        word.start - group[-1].end < options.pause_seconds
        and word.end - group[0].start <= options.seconds
        and characters <= options.characters
    )
