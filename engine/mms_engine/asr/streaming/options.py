"""Options of a stream: latency, context, endpoints, and the format of its audio."""

from dataclasses import dataclass, field

from mms_engine.audio.running_norm import NormalizationOptions
from mms_engine.decoding.options import HotwordPhrases
from mms_engine.types import ContextKind, Latency, SampleFormat, VoiceDetector

LONGEST_SECONDS = 600.0
"""Length at which an utterance ends even without rules, since memory grows with it."""
_MAX_STEP_SECONDS = 120.0
"""Most audio of a step, since the encoder's memory grows with its square."""
SAMPLE_RATES = range(1_000, 768_001)
"""Sample rates that can be resampled, Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions:
    """Context of the encoder in each step."""

    kind: ContextKind
    """`cached` encodes new frames only and attends to a KV cache of earlier ones; `window` encodes
    left context, chunk and right context in each step."""
    left_seconds: float
    """Left context: seconds of audio before the chunk."""
    chunk_seconds: float
    """Seconds of audio that a step transcribes."""
    right_seconds: float = 0.0
    """Right context: seconds of audio after the chunk, which the step waits for."""

    def __post_init__(self) -> None:
        if not (self.chunk_seconds > 0 and self.left_seconds >= 0 and self.right_seconds >= 0):
            raise ValueError(
                f"the chunk must be longer than 0 s, and contexts must not be negative: {self}"
            )
        total = self.left_seconds + self.chunk_seconds + self.right_seconds
        if not total <= _MAX_STEP_SECONDS:
            raise ValueError(f"chunk and contexts together exceed {_MAX_STEP_SECONDS:g} s: {self}")


LATENCIES: dict[Latency, ContextOptions] = {
    "low": ContextOptions(kind="cached", left_seconds=5.0, chunk_seconds=0.2, right_seconds=0.24),
    "balanced": ContextOptions(
        kind="cached", left_seconds=5.0, chunk_seconds=0.64, right_seconds=0.32
    ),
    "accurate": ContextOptions(
        kind="cached", left_seconds=10.0, chunk_seconds=2.0, right_seconds=1.0
    ),
}
"""Contexts by latency; docs/streaming.md has the error rate, delay and cost of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """Rules that end an utterance, as in Kaldi and sherpa-onnx."""

    silence_seconds: float = 2.4
    """Silence that ends an utterance without speech, in seconds."""
    pause_seconds: float = 1.2
    """Silence that ends an utterance with speech, in seconds."""
    max_seconds: float = 20.0
    """Length from which an utterance ends at the next gap between words, in seconds; at 1.25 times
    this length it ends inside a word."""
    skip_silence: bool = True
    """Whether to skip the encoder on silence between utterances."""
    quiet_db: float = 40.0
    """Level below the running level of the audio that counts as silence for `skip_silence`, dB."""
    vad: VoiceDetector = "level"
    """Detector of silence besides the model: `level` by `quiet_db`; `silero` by Silero VAD (package
    silero-vad), with which frames without a voice are silence even if the model finds words."""

    def __post_init__(self) -> None:
        numbers = (self.silence_seconds, self.pause_seconds, self.max_seconds, self.quiet_db)
        if not all(number > 0 for number in numbers):
            raise ValueError(f"numbers must be positive: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """Options of one stream."""

    latency: Latency = "balanced"
    """Trade-off between delay and accuracy; selects a context from `LATENCIES`."""
    context: ContextOptions | None = None
    """Context in place of the one that `latency` selects."""
    sample_rate: int = 16_000
    """Sample rate of the audio in Hz."""
    sample_format: SampleFormat = "f32le"
    """Sample format of bytes: float32 or 16-bit integers, little-endian, µ-law or A-law. Arrays
    are float32 or int16 in any case."""
    tentative: bool = False
    """Whether partial text includes the right context: shown sooner, but it may change."""
    hotwords: HotwordPhrases | None = None
    """Hotwords of this stream in place of the recogniser's, which must have a beam search; `None`
    for the recogniser's."""
    normalization: NormalizationOptions = field(default_factory=NormalizationOptions)
    """Running normalisation."""
    endpoints: EndpointOptions | None = field(default_factory=EndpointOptions)
    """Endpoint rules; with `None` only `flush` and `finish` end an utterance, or ten minutes."""

    def __post_init__(self) -> None:
        if self.sample_rate not in SAMPLE_RATES:
            raise ValueError(f"sample_rate is {self.sample_rate} Hz, must be 1000 to 768000")

    @property
    def contexts(self) -> ContextOptions:
        """Context that the options select."""
        return self.context or LATENCIES[self.latency]
