"""Alignments of texts."""

from dataclasses import dataclass

from mms_engine.types.choices import RegionKind, WordTimes
from mms_engine.types.recognition import Span


@dataclass(frozen=True, slots=True)
class AlignedCharacter:
    """A character of a word, or several that sound as one, and its span of time."""

    text: str
    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    score: float
    """Geometric mean of the probabilities of its letters over their frames, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """A word of a text and its span of time."""

    text: str
    """Spelling of the text, with its punctuation."""
    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    score: float
    """Geometric mean of the probabilities of its letters over their frames, in [0, 1]."""
    trusted: bool
    """Whether the audio at this place confirms the word."""
    aligned: bool
    """Whether its letters were aligned. A word without letters in the vocabulary, or one that does
    not fit in the audio, lies in the gap between its neighbours."""
    line: int
    """Index in `Alignment.lines`."""
    characters: tuple[AlignedCharacter, ...] = ()
    """In order; characters without letters, such as punctuation, are left out."""


@dataclass(frozen=True, slots=True)
class AlignedLine:
    """A line, sentence or paragraph of a text and its span of time."""

    text: str
    """Spelling of the text."""
    start: float
    """Start of its first word, in seconds; for an empty line, the end of the line before."""
    end: float
    """End of its last word, in seconds."""
    score: float
    """Geometric mean of the probabilities of its letters over their frames, in [0, 1]."""
    trusted_share: float
    """Share of trusted words among those with letters; 1 without any."""
    first_word: int
    """Index in `Alignment.words` of its first word."""
    last_word: int
    """Index behind its last word."""
    paragraph: int
    """Index of its paragraph: the block of lines between blank lines."""
    error: str | None = None
    """Why it, or a part of it, was not aligned: frames that it needs, and those that are there."""


@dataclass(frozen=True, slots=True)
class Region:
    """A passage where text and audio differ."""

    kind: RegionKind
    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    text: str
    """Words of the text, as written; empty if the text has none."""
    decoded: str
    """Text that the model decodes in this span, without a language model; empty for none."""
    first_word: int
    """Index in `Alignment.words` of its first word, or of the word behind it if it has none."""
    last_word: int
    """Index behind its last word."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """A text with the times of its words."""

    words: tuple[AlignedWord, ...]
    """All words of the text, in order; neither starts nor ends ever decrease."""
    lines: tuple[AlignedLine, ...]
    """All lines of the text, empty ones included."""
    regions: tuple[Region, ...]
    """Passages where text and audio differ, in order of time."""
    seconds: float
    """Duration of the audio."""
    language: str
    """Code as MMS writes it."""
    times: WordTimes
    """Meaning of the start and end of words and characters."""
    trusted_share: float
    """Share of trusted words among those with letters; 1 without any."""
    missing: tuple[Span, ...] = ()
    """Spans of the recording that are damaged, in order."""
    warnings: tuple[str, ...] = ()
    """Remarks about the recording; see `Audio.warnings`."""
