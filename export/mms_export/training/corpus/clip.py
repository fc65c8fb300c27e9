"""Clips of a corpus: spans of recordings, and their texts as written."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mms_engine.errors import MmsError

Side = Literal["train", "held-out"]
"""Side of the split into training and held-out clips."""


class Unusable(Exception):
    """A part of a corpus is not a clip. The message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A span of a recording and its text."""

    audio: Path
    """The file of the recording."""
    text: str
    """Text as written in the corpus."""
    where: str
    """Place in the corpus, for messages: `validated.tsv, line 12`."""
    start: float = 0.0
    """Seconds from the start of the file (inclusive)."""
    end: float | None = None
    """Seconds from the start of the file (exclusive); `None` for its end."""
    speaker: str = ""
    """Name or code of the speaker; empty if unknown."""
    recording: str = ""
    """Name of the recording that the clip is part of: clips of one are not independent."""
    side: Side | None = None
    """Side of the split that the corpus itself names; `None` if it names none."""

    def __post_init__(self) -> None:
        end = self.start + 1.0 if self.end is None else self.end
        if not 0 <= self.start < end < math.inf:
            raise Unusable(f"it lasts from {self.start:g} s to {end:g} s")
        for text in (self.text, self.speaker):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise Unusable(f"{text!r} is no valid Unicode") from error


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part of a corpus that is not a clip."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Clips of a corpus, in its own order."""

    path: Path
    """Path as the user wrote it."""
    format: str
    """Name of the format, a key of `corpus.registry.FORMATS`."""
    clips: tuple[Clip, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    """Parts that could not become clips."""


@dataclass(frozen=True, slots=True)
class Part:
    """Contents of a file of a corpus."""

    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...] = ()


def no_clips(corpus: Corpus) -> MmsError:
    """Return the error of a corpus without clips."""
    if not corpus.skipped:
        return MmsError(f"{corpus.path} is empty: a corpus has recordings and their texts")
    first = corpus.skipped[0]
    others = f" (and {len(corpus.skipped) - 1} more)" if len(corpus.skipped) > 1 else ""
    return MmsError(f"{corpus.path} holds no usable clip: {first.where}: {first.reason}{others}")
