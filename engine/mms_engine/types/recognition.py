"""Audio, transcripts and their parts."""

from dataclasses import dataclass

from mms_engine.types.arrays import Float32Array


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time."""

    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono audio."""

    samples: "Float32Array"
    """Shape `[N]`; full scale is ±1. May be a read-only memory map when the audio is long."""
    sample_rate: int
    """Samples per second."""
    missing: tuple[Span, ...] = ()
    """Spans of damaged audio, in order: silence in `samples`, or behind their end."""
    warnings: tuple[str, ...] = ()
    """Remarks for the user: missing spans, the choice among several tracks or channels."""

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != "float32":
            got = f"{self.samples.dtype}{list(self.samples.shape)}"
            raise ValueError(f"Audio.samples must be float32[N], got {got}")
        if self.sample_rate <= 0:
            raise ValueError(f"Audio.sample_rate must be positive, got {self.sample_rate}")

    def __repr__(self) -> str:
        return f"Audio({self.samples.size} samples, {self.sample_rate} Hz, {self.seconds:.2f} s)"

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples.size / self.sample_rate


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its span of time."""

    text: str
    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    confidence: float
    """Geometric mean of the tokens' probabilities over their frames, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One text of an n-best list."""

    text: str
    words: tuple[Word, ...]
    """In order of time, not overlapping."""
    confidence: float
    """Geometric mean of the tokens' probabilities over their frames, in [0, 1]."""
    score: float
    """Score by which texts are ranked, in nats; see `BeamSearch` for the formula."""
    log_prob: float
    """Natural log of the acoustic model's probability of the tokens."""


@dataclass(frozen=True, slots=True)
class LanguageSegment:
    """A part of a recording in one language."""

    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    language: str
    """Code as MMS writes it."""
    probability: float
    """Probability of the language among those to choose from, in [0, 1]."""
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """Text of an audio, with the times of its words."""

    text: str
    language: str
    """Code as MMS writes it: ISO 639-3, possibly with `-script_…` or `-dialect_…`. If it was
    identified and there is no speech, `und`; if languages switch, that of most seconds."""
    words: tuple[Word, ...]
    """In order of time, not overlapping."""
    duration: float
    """Seconds of audio."""
    confidence: float
    """Geometric mean of the tokens' probabilities over their frames, in [0, 1]; 0 for no text."""
    alternatives: tuple[Alternative, ...] = ()
    """Best texts, all distinct, best first, starting with this one; empty unless `nbest` is above
    1."""
    missing: tuple[Span, ...] = ()
    """Spans of the recording that are damaged, in order."""
    warnings: tuple[str, ...] = ()
    """Remarks about the recording (see `Audio.warnings`), and on words of the language model and
    hotwords that cannot be used."""
    language_probability: float | None = None
    """Probability of an identified language among those to choose from, in [0, 1]; `None` if the
    caller gave the language, or there is no speech."""
    segments: tuple[LanguageSegment, ...] = ()
    """Parts of a recording whose languages were identified, in order of time."""
