"""Timed text: tiers of labelled intervals, the common form of transcripts and alignments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mms_engine.types import Transcript, Word

WORDS = "words"
"""Name of the tier that every timed text has."""
LINES = "lines"
"""Name of the tier of the lines or sentences of a given text."""
CHARACTERS = "characters"
"""Name of the tier of the characters of a given text."""
LANGUAGES = "languages"
"""Name of the tier of the languages of a recording, where they were identified."""
REGIONS = "regions"
"""Name of the tier of the passages where a given text and the audio differ."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A label and its span of time."""

    text: str
    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    score: float | None = None
    """Confidence in [0, 1]; `None` where there is none."""
    trusted: bool | None = None
    """Whether the label fits the audio; `None` where this was not examined."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Intervals in order of time, not overlapping."""

    name: str
    intervals: tuple[Interval, ...]
    within: str | None = None
    """Name of an earlier tier, in one interval of which each interval lies; `None` for none."""


@dataclass(frozen=True, slots=True)
class TimedText:
    """Tiers of one recording, from the largest units to the smallest."""

    name: str
    """Name of the recording."""
    media: str
    """Path of the recording as the user wrote it; empty for none."""
    language: str
    """Code as MMS writes it."""
    duration: float
    """Seconds of audio."""
    joiner: str
    """Text between two words: a space, or nothing in scripts without spaces."""
    tiers: tuple[Tier, ...]

    def intervals(self, name: str) -> tuple[Interval, ...]:
        """Return the intervals of a tier; none if there is no such tier."""
        return next((tier.intervals for tier in self.tiers if tier.name == name), ())


def from_transcript(transcript: Transcript, name: str, media: str = "") -> TimedText:
    """Return the words of a transcript, and its languages if identified, as timed text."""
    # In a script without spaces each token is a word, and words are joined without spaces.
    joiner = " " if len(transcript.words) < 2 or " " in transcript.text else ""
    words = tuple(map(_interval, transcript.words))
    languages = tuple(
        Interval(one.language, one.start, one.end, one.probability) for one in transcript.segments
    )
    tiers = (*((Tier(LANGUAGES, languages),) if languages else ()), Tier(WORDS, words))
    return TimedText(name, media, transcript.language, transcript.duration, joiner, tiers)


def _interval(word: Word) -> Interval:
    return Interval(word.text, word.start, word.end, word.confidence)


def merge_empty(
    intervals: Sequence[Interval], shortest: float = 0.001, joiner: str = " "
) -> Iterator[Interval]:
    """Yield intervals of at least `shortest` seconds, for formats without points in time.

    The label of a shorter one is joined to the next interval, or to the last.
    """
    waiting: list[Interval] = []
    previous: Interval | None = None
    for interval in intervals:
        waiting.append(interval)
        if interval.end - interval.start < shortest:
            continue
        if previous is not None:
            yield previous
        previous = _join(waiting, interval, joiner)
        waiting = []
    if previous is not None:
        yield _join([previous, *waiting], previous, joiner)


def _join(parts: Sequence[Interval], span: Interval, joiner: str) -> Interval:
    """Return the span with the labels of all parts."""
    text = joiner.join(part.text for part in parts)
    return Interval(text, span.start, span.end, span.score, span.trusted)
