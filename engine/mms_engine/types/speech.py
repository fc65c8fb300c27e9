"""Synthetic speech and what it lacks."""

from dataclasses import dataclass

from mms_engine.types.arrays import Float32Array
from mms_engine.types.choices import DroppedKind


@dataclass(frozen=True, slots=True)
class Dropped:
    """Characters of a text that a voice cannot speak."""

    text: str
    start: int
    """Offset in the text of the first character, in code points."""
    end: int
    """Offset behind the last character."""
    kind: DroppedKind
    look_alikes: tuple[str, ...] = ()
    """Letters of the voice that look like it."""
    replacement: str = ""
    """Letter that is spoken in its place; empty if it is left out."""

    @property
    def is_loss(self) -> bool:
        """Whether the speech lacks something: not for punctuation and silent letters."""
        return self.kind not in ("punctuation", "silent") and not self.replacement


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of a spoken text and its span of time."""

    text: str
    """Word as written, with its punctuation."""
    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence as it is spoken."""

    text: str
    """Sentence as written."""
    offset: int
    """Offset of its first character in the whole text, in code points."""
    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive); `start` if nothing of it can be spoken."""
    words: tuple[SpokenWord, ...]
    """Words that have letters of the voice, in order."""
    dropped: tuple[Dropped, ...]
    """Characters that have none, in order, punctuation included."""
    warnings: tuple[str, ...] = ()
    """One line about the characters that the speech lacks, if there are any."""


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """A spoken text."""

    samples: "Float32Array"
    """Shape `[N]`; full scale is ±1."""
    sample_rate: int
    """Samples per second."""
    voice: str
    """Code of the voice."""
    sentences: tuple[Spoken, ...]
    """In order."""

    def __repr__(self) -> str:
        return f"Speech({self.seconds:.2f} s, {self.sample_rate} Hz, {self.voice!r})"

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples.size / self.sample_rate

    @property
    def words(self) -> tuple[SpokenWord, ...]:
        """Words of all sentences, in order of time."""
        return tuple(word for sentence in self.sentences for word in sentence.words)

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """Dropped characters of all sentences, in order."""
        return tuple(one for sentence in self.sentences for one in sentence.dropped)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of all sentences, in order."""
        return tuple(line for sentence in self.sentences for line in sentence.warnings)
