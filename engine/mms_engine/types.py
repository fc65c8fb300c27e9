"""Values passed between the stages, in the order of the pipeline, and the choices of options.

NumPy is not imported here, so that the command line's help starts without it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]
else:
    Float32Array = Any

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)
BackendName = Literal["ort-cpu", "ort-cuda", "tensorrt", "tensorrt-rtx"]
BACKEND_NAMES: tuple[BackendName, ...] = get_args(BackendName)
Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LmUnit = Literal["auto", "word", "token"]
Latency = Literal["low", "balanced", "accurate"]
ContextKind = Literal["cached", "window"]
NormalizationScope = Literal["utterance", "running"]
SampleFormat = Literal["f32le", "s16le", "mulaw"]
VoiceDetector = Literal["level", "silero"]
ClipFormat = Literal["flac", "wav"]
NumberPolicy = Literal["words", "star"]
"""Numbers are read out where the language's rules are known, or never."""
TextUnit = Literal["line", "sentence", "paragraph"]
"""Lines as given, sentences, or blocks between blank lines."""
Stars = Literal["none", "edges", "paragraphs", "lines"]
"""Places of a text where the audio may hold speech of any length that the text lacks."""
SegmentUnit = Literal["line", "pause"]
"""A segment per line of an alignment, or per span between pauses."""
WordTimes = Literal["spoken", "tight", "filled"]
"""`tight`: the frames of a word's own letters. `spoken`: with 60 ms of the gap behind the word, at
most half of it, in which its last sound goes on. `filled`: with half of the gap to each side."""
RegionKind = Literal["missing", "extra", "swapped", "repeated", "untrusted"]
"""`missing`: speech that the text lacks. `extra`: text that is not spoken. `swapped`: text spoken
at another place. `repeated`: spoken or written once more than the other. `untrusted`: text that
differs from what is spoken there, or that the model cannot confirm."""

IdentificationAnswer = Literal["language", "unsure", "no_speech", "too_short"]
"""`language`: the best one. `unsure`: its raw logit is below the floor. `no_speech`: there is too
little speech. `too_short`: the audio is shorter than a frame of the model."""


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
class Transcript:
    """Text of an audio, with the times of its words."""

    text: str
    language: str
    """Code as MMS writes it: ISO 639-3, possibly with `-script_…` or `-dialect_…`."""
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


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """A language and how likely it is."""

    code: str
    """Label of the model: ISO 639-3."""
    probability: float
    """Probability among the languages to choose from, in [0, 1]."""
    unrestricted_probability: float
    """Probability among all languages of the model, in [0, 1]."""
    logit: float
    """Raw score of the model, the mean over the windows; evidence that other languages do not
    change."""


@dataclass(frozen=True, slots=True)
class LanguageWindow:
    """A part of a recording and its language."""

    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    speech_seconds: float
    """Speech in it: its weight in the recording's scores."""
    answer: IdentificationAnswer
    language: str | None
    """Code of the best language if the answer is `language`."""
    scores: tuple[LanguageScore, ...]
    """Best languages, best first."""


@dataclass(frozen=True, slots=True)
class Identification:
    """Language of a recording, or that it is not known."""

    answer: IdentificationAnswer
    language: str | None
    """Code of the best language if the answer is `language`."""
    scores: tuple[LanguageScore, ...]
    """Best languages, best first; empty if the answer is `no_speech` or `too_short`."""
    windows: tuple[LanguageWindow, ...]
    """Parts of the recording, in order."""
    seconds: float
    """Duration of the audio."""
    speech_seconds: float
    """Speech in it, by its level."""
    missing: tuple[Span, ...] = ()
    """Spans of the recording that are damaged, in order."""
    warnings: tuple[str, ...] = ()
    """Remarks about the recording; see `Audio.warnings`."""
