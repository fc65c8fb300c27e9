"""Speech long enough to be a conversation: short recordings joined with pauses."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mms_bench.errors import BenchError
from mms_engine.audio import SAMPLE_RATE, read_audio
from mms_engine.types import Float32Array

_COLUMNS = {"file", "lang", "text"}
_PAUSES = (0.5, 1.5)
"""Shortest and longest pause after a clip, in seconds."""
_NOISE = 3e-4
"""Standard deviation of what is heard in a pause, full scale 1: a quiet room."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A sound and what is said in it."""

    samples: Float32Array
    """Shape `[N]`, 16 kHz, full scale ±1."""
    language: str
    text: str

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / SAMPLE_RATE


def read_recordings(table: Path, languages: Iterable[str]) -> list[Recording]:
    """Return the recordings of some languages that a list names.

    Args:
        table: Tab-separated, with the columns `file` (beside the list), `lang` and `text`.
        languages: Their codes.

    Raises:
        BenchError: the list cannot be read, or it lacks a column.
        AudioError: a file cannot be read.
    """
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise BenchError(f"cannot read the recordings {table}: {error.strerror}") from error
    if not rows or not rows[0].keys() >= _COLUMNS:
        raise BenchError(
            f"{table} needs a line with the columns file, lang and text, and recordings"
        )
    wanted = set(languages)
    return [
        Recording(read_audio(table.parent / row["file"]).samples, row["lang"], row["text"])
        for row in rows
        if row["lang"] in wanted
    ]


def joined(clips: Iterable[Recording], seconds: float, *, seed: int = 0) -> list[Recording]:
    """Join clips of a language, a pause before the first and after each, until they are so long.

    Args:
        clips: Their order is kept within a language.
        seconds: After which a recording is long enough; the last of a language may be shorter.
        seed: Of the pauses.
    """
    random = np.random.default_rng(seed)
    by_language: dict[str, list[Recording]] = {}
    for clip in clips:
        by_language.setdefault(clip.language, []).append(clip)
    found = []
    for language in sorted(by_language):
        waiting: list[Recording] = []
        for clip in by_language[language]:
            waiting.append(clip)
            if sum(one.seconds for one in waiting) >= seconds:
                found.append(_join(waiting, random))
                waiting = []
        if waiting:
            found.append(_join(waiting, random))
    return found


def _join(clips: list[Recording], random: np.random.Generator) -> Recording:
    pieces = [_pause(random)]
    for clip in clips:
        pieces += [clip.samples, _pause(random)]
    text = " ".join(clip.text for clip in clips)
    return Recording(np.concatenate(pieces), clips[0].language, text)


def _pause(random: np.random.Generator) -> Float32Array:
    count = round(random.uniform(*_PAUSES) * SAMPLE_RATE)
    return random.normal(0, _NOISE, count).astype(np.float32)
