"""What a caller of a stream may choose. One knob, `latency`; every number behind it is open."""

from dataclasses import dataclass, field

from mms_engine.decoding.options import HotwordPhrases
from mms_engine.types import ContextKind as ContextKind
from mms_engine.types import Latency, VoiceDetector
from mms_engine.types import SampleFormat as SampleFormat

LONGEST_SECONDS = 600.0
"""Length at which an utterance ends even without rules: memory grows with it."""
_MOST_CONTEXT_SECONDS = 120.0
"""What a step may hear: the encoder's memory grows with its square."""
SAMPLE_RATES = range(1_000, 768_001)
"""Sample rates that can be resampled, Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions:
    """What the encoder hears of each piece of audio, and in which form."""

    kind: ContextKind
    """`cached` computes new frames only, from the keys and values that earlier ones left;
    `window` encodes left context, chunk and right context in each step."""
    left_seconds: float
    """Audio before the chunk that is heard."""
    chunk_seconds: float
    """Audio that a step gives text for."""
    right_seconds: float = 0.0
    """Audio behind the chunk that is waited for."""

    def __post_init__(self) -> None:
        if not self.chunk_seconds > 0 or not min(self.left_seconds, self.right_seconds) >= 0:
            raise ValueError(f"a chunk must be longer than 0, contexts not negative: {self}")
        heard = self.left_seconds + self.chunk_seconds + self.right_seconds
        if not heard <= _MOST_CONTEXT_SECONDS:
            raise ValueError(
                f"a step may hear {_MOST_CONTEXT_SECONDS:g} s, chunk and contexts together: {self}"
            )


LATENCIES: dict[Latency, ContextOptions] = {
    "low": ContextOptions(kind="cached", left_seconds=5.0, chunk_seconds=0.2, right_seconds=0.24),
    "balanced": ContextOptions(
        kind="cached", left_seconds=5.0, chunk_seconds=0.64, right_seconds=0.32
    ),
    "accurate": ContextOptions(
        kind="cached", left_seconds=10.0, chunk_seconds=2.0, right_seconds=1.0
    ),
}
"""What each setting of `latency` stands for; docs/streaming.md has what each costs and gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizationOptions:
    """How the running mean and variance are taken, since a whole utterance is never there.

    They are those of a prior, `prior_seconds` of sound with mean 0 and the level `prior_level`,
    and of what was heard, all of it counting less by `exp(-seconds / forget_seconds)` as it ages.
    """

    prior_seconds: float = 1.0
    prior_level: float = 0.05
    """Standard deviation at a full scale of 1; -26 dB."""
    forget_seconds: float = 5.0

    def __post_init__(self) -> None:
        numbers = (self.prior_seconds, self.prior_level, self.forget_seconds)
        if not all(number > 0 for number in numbers):
            raise ValueError(f"normalisation takes positive numbers only: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """When an utterance ends: three rules, as sherpa-onnx and Kaldi have them."""

    silence_seconds: float = 2.4
    """Silence after which an utterance ends in which nothing was said."""
    pause_seconds: float = 1.2
    """Silence after which an utterance ends in which something was said."""
    max_seconds: float = 20.0
    """Length at which an utterance ends in any case, at the last word boundary before it."""
    skip_silence: bool = True
    """Whether audio that is far quieter than speech is not computed while nothing is said."""
    quiet_db: float = 40.0
    """How far below the running level of speech audio is so quiet."""
    vad: VoiceDetector = "level"
    """What finds silence beside the model: `level`, by `quiet_db`; or `silero`, by Silero VAD (the
    package silero-vad), which finds it in noise too: frames without a voice are silence then, even
    where the model hears words in them."""

    def __post_init__(self) -> None:
        numbers = (self.silence_seconds, self.pause_seconds, self.max_seconds, self.quiet_db)
        if not all(number > 0 for number in numbers):
            raise ValueError(f"endpointing takes positive numbers only: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a stream is heard."""

    latency: Latency = "balanced"
    context: ContextOptions | None = None
    """In place of what `latency` stands for."""
    sample_rate: int = 16_000
    """Of the audio that is fed, Hz."""
    sample_format: SampleFormat = "f32le"
    """Of the bytes that are fed: float32 or 16-bit integers, little-endian, or µ-law. Arrays are
    float32 or int16 whatever this says."""
    tentative: bool = False
    """Whether partial text runs on into the right context: seen sooner, and it may still change."""
    hotwords: HotwordPhrases | None = None
    """Phrases of this stream alone and their weights, in place of those of the recogniser; they
    need `decoder="beam"`. `None` keeps the recogniser's."""
    normalization: NormalizationOptions = field(default_factory=NormalizationOptions)
    endpoints: EndpointOptions | None = field(default_factory=EndpointOptions)
    """`None`: an utterance ends where `flush` or `finish` ends it, and after ten minutes."""

    def __post_init__(self) -> None:
        if self.sample_rate not in SAMPLE_RATES:
            raise ValueError(f"sample_rate is {self.sample_rate} Hz, possible are 1000 to 768000")

    @property
    def contexts(self) -> ContextOptions:
        """What the encoder hears."""
        return self.context or LATENCIES[self.latency]
