"""The values that pass between the stages, in the order in which they appear."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A mono sound."""

    samples: Float32Array
    """Shape `[N]`; full scale is ±1. May be a read-only memory map when the sound is long."""
    sample_rate: int
    """Samples per second."""

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            got = f"{self.samples.dtype}{list(self.samples.shape)}"
            raise ValueError(f"Audio.samples must be float32[N], got {got}")
        if self.sample_rate <= 0:
            raise ValueError(f"Audio.sample_rate must be positive, got {self.sample_rate}")

    def __repr__(self) -> str:
        return f"Audio({self.samples.size} samples, {self.sample_rate} Hz, {self.seconds:.2f} s)"

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples.size / self.sample_rate


@dataclass(frozen=True, slots=True)
class Word:
    """A word in time."""

    text: str
    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    confidence: float
    """Geometric mean of the tokens' probabilities over their frames, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A text that was considered."""

    text: str
    words: tuple[Word, ...]
    """In order of time, not overlapping."""
    confidence: float
    """As that of a transcript."""
    score: float
    """What texts are ranked by, in nats: `BeamSearch` gives the formula."""
    log_prob: float
    """Natural log of the probability that the acoustic model alone gives its tokens."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said."""

    text: str
    language: str
    """Code as MMS writes it: ISO 639-3, perhaps with `-script_…` or `-dialect_…`."""
    words: tuple[Word, ...]
    """In order of time, not overlapping."""
    duration: float
    """Seconds of audio."""
    confidence: float
    """Geometric mean of the tokens' probabilities over their frames, in [0, 1]; 0 for no text."""
    alternatives: tuple[Alternative, ...] = ()
    """The best texts, all different, the best first, which is this one; none unless more than one
    was asked for."""
