"""Options of forced alignment."""

from dataclasses import dataclass, field

from mms_engine.backends.options import RunOptions
from mms_engine.encoder.windows import WindowOptions
from mms_engine.types import NumberPolicy, Stars, TextUnit, WordTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignerOptions(RunOptions):
    """Options of an `Aligner`."""

    stars: Stars = "edges"
    """Places of stars: before and after the text if anything is decoded there, and with
    `paragraphs` or `lines` between these too. A star takes any audio. Where the model decodes much
    that the text lacks, there is one in any case."""
    times: WordTimes = "spoken"
    """Times of the words: with the end of their last sound, of their own letters' frames, or with
    gaps between words shared."""
    padding_seconds: float = 0.0
    """Time added before and after each word, at most up to the middle of the gap."""
    split: TextUnit = "line"
    """Unit of `Alignment.lines`."""
    numbers: NumberPolicy = "words"
    """Treatment of numbers in digits: read out where the language's rules are known, or stars."""
    windows: WindowOptions = field(default_factory=WindowOptions)
    batch_frames: int = 0
    """Frames of one encoder run, padding included (20 ms each); 0 for the device's default: one
    full window on a CPU, sixteen on a GPU."""
    max_bytes: int = 2 << 30
    """Bound on the memory of the emission: 4 bytes per frame and distinct letter of the text. An
    hour takes 25 MB with 35 letters. Longer audio is an error."""
    allow_truncated: bool = False
    """Whether a truncated or damaged file is aligned, with silence in place of what is missing,
    rather than an error."""
    track: int | None = None
    """Audio track of files with several, from 1; `None` for the default one."""
    channel: int | None = None
    """Channel, from 1; `None` for the mean, or for the loudest where channels cancel out."""

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is a new class, which the zero-argument form misses.
        RunOptions.__post_init__(self)
        if not 0 <= self.padding_seconds < float("inf"):
            raise ValueError(f"padding_seconds is {self.padding_seconds}, must not be negative")
        if self.batch_frames < 0 or self.max_bytes < 1:
            raise ValueError(f"batch_frames and max_bytes must not be negative: {self}")
        for name in ("track", "channel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
