"""Speech that is measured on: clips of one length, and recordings with reference texts."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mms_engine.audio import SAMPLE_RATE, normalize, read_audio
from mms_engine.cli.transcribe.recordings import from_table
from mms_engine.types import Float32Array

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


def read_recordings(table: Path, languages: Collection[str]) -> list[Recording]:
    """Return the recordings of a tab-separated list in some languages.

    The columns are `file` (relative to the list), `lang` and `text`.
    """
    return [
        Recording(read_audio(Path(row.name)).samples, row.language or "", row.reference)
        for row in from_table(table, with_text=True)
        if row.language in languages
    ]


def joined(recordings: Iterable[Recording], seconds: float) -> list[Recording]:
    """Join recordings of a language, in order and with pauses, to a minimal length in seconds."""
    random = np.random.default_rng(0)
    found: list[Recording] = []
    for recording in sorted(recordings, key=lambda one: one.language):
        language = recording.language
        if not found or found[-1].language != language or found[-1].seconds >= seconds:
            found.append(Recording(_pause(random), language, ""))
        samples = np.concatenate([found[-1].samples, recording.samples, _pause(random)])
        text = f"{found[-1].text} {recording.text}".strip()
        found[-1] = Recording(samples, language, text)
    return found


def _pause(random: np.random.Generator) -> Float32Array:
    count = round(random.uniform(*_PAUSES) * SAMPLE_RATE)
    return random.normal(0, _NOISE, count).astype(np.float32)
