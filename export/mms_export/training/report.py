"""Report of a corpus: what of it serves training, what does not and why, and its characters."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from mms_engine.text.vocabulary import Vocabulary
from mms_export.training.corpus.clip import Clip, Skipped
from mms_export.training.corpus.split import SplitUnit

Fault = Literal[
    "unreadable",
    "empty",
    "note",
    "digits",
    "cut off",
    "short",
    "long",
    "crowded",
    "silent",
    "duplicate",
    "contradiction",
]
"""Kinds of reasons for which a clip does not serve training."""


@dataclass(frozen=True, slots=True)
class Example:
    """A clip that serves training."""

    clip: Clip
    text: str
    """Prepared text."""
    seconds: float
    """Duration of its samples."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A clip that does not serve training."""

    where: str
    kind: Fault
    detail: str
    """Meaning in this clip."""


@dataclass(frozen=True, slots=True)
class Character:
    """A letter of the prepared texts."""

    letter: str
    count: int
    look_alikes: tuple[str, ...]
    """Letters that look like it and are ten times as frequent: it may be a slip."""
    where: str
    """A clip that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Result of the examination of a corpus."""

    path: str
    format: str
    language: str
    train: tuple[Example, ...]
    """Clips to train on."""
    held_out: tuple[Example, ...]
    """Clips to measure with, of other speakers."""
    split_unit: SplitUnit | None
    """Unit that is whole on one side; `None` if the clips could not be divided."""
    vocabulary: Vocabulary
    """Vocabulary of the training texts."""
    characters: tuple[Character, ...]
    """Letters of all usable texts, the most frequent first."""
    left_out: tuple[LeftOut, ...]
    skipped: tuple[Skipped, ...]
    """Parts of the corpus that are no clips."""
    warnings: tuple[str, ...]
    """Remarks to look at; training is possible."""
    faults: tuple[str, ...]
    """Why training cannot start; empty if it can."""

    @property
    def seconds(self) -> float:
        """Duration of all usable clips."""
        return sum(example.seconds for example in (*self.train, *self.held_out))

    @property
    def seconds_by_speaker(self) -> Counter[str]:
        """Duration of the usable clips of each speaker; of unknown ones by the empty name."""
        seconds: Counter[str] = Counter()
        for example in (*self.train, *self.held_out):
            seconds[example.clip.speaker] += example.seconds  # type: ignore[assignment]
        return seconds
