"""Speech that is measured on: clips of one length, and recordings with reference texts."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mms_bench.errors import BenchError
from mms_engine.audio import SAMPLE_RATE, normalize, read_audio
from mms_engine.types import Float32Array

_COLUMNS = {"file", "lang", "text"}
_PAUSES = (0.5, 1.5)
"""Shortest and longest pause between joined clips, seconds."""
_NOISE = 3e-4
"""Standard deviation of the noise in a pause at a full scale of 1: a quiet room."""


def clips(files: Sequence[Path], seconds: float, count: int) -> Float32Array:
    """Return `count` different clips of `seconds` each, normalised: `float32[count, samples]`.

    The files are joined, repeated as needed, and cut at evenly spaced places.
    """
    length = round(seconds * SAMPLE_RATE)
    sound = np.concatenate([read_audio(file).samples for file in files])
    starts = np.arange(count) * sound.size // count
    rows = (np.resize(np.roll(sound, -start), length) for start in starts)
    return np.stack([normalize(row) for row in rows])


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Speech with its reference text."""

    samples: Float32Array
    """Shape `[N]`, 16 kHz, full scale ±1."""
    language: str
    text: str

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / SAMPLE_RATE


def read_recordings(table: Path, languages: Iterable[str]) -> list[Recording]:
    """Return the recordings of a tab-separated list in some languages.

    The columns are `file` (relative to the list), `lang` and `text`.
    """
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise BenchError(f"cannot read the recordings {table}: {error.strerror}") from error
    if not rows or not rows[0].keys() >= _COLUMNS:
        raise BenchError(f"{table} needs a header with the columns file, lang and text, and rows")
    wanted = set(languages)
    return [
        Recording(read_audio(table.parent / row["file"]).samples, row["lang"], row["text"])
        for row in rows
        if row["lang"] in wanted
    ]


def joined(recordings: Iterable[Recording], seconds: float, *, seed: int = 0) -> list[Recording]:
    """Join recordings of a language, in order and with pauses, to a minimal length in seconds."""
    random = np.random.default_rng(seed)
    by_language: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_language.setdefault(recording.language, []).append(recording)
    found = []
    for _, own in sorted(by_language.items()):
        waiting: list[Recording] = []
        for recording in own:
            waiting.append(recording)
            if recording is own[-1] or sum(one.seconds for one in waiting) >= seconds:
                found.append(_join(waiting, random))
                waiting = []
    return found


def _join(recordings: list[Recording], random: np.random.Generator) -> Recording:
    pieces = [piece for one in recordings for piece in (_pause(random), one.samples)]
    samples = np.concatenate([*pieces, _pause(random)])
    return Recording(samples, recordings[0].language, " ".join(one.text for one in recordings))


def _pause(random: np.random.Generator) -> Float32Array:
    count = round(random.uniform(*_PAUSES) * SAMPLE_RATE)
    return random.normal(0, _NOISE, count).astype(np.float32)
