"""Options of speech synthesis."""

from dataclasses import dataclass

from mms_engine.backends.options import RunOptions
from mms_engine.types import SpokenNumbers

SLOWEST, FASTEST = 0.25, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesizerOptions(RunOptions):
    """Options of a `Synthesizer`."""

    voice_cache_bytes: int = 1 << 30
    """Memory for resident voices, of which a voice of MMS takes 113 MB in fp32, 57 MB in fp16; one
    of each size of network fits in any case."""

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is a new class, which the zero-argument form misses.
        RunOptions.__post_init__(self)
        if self.voice_cache_bytes < 0:
            raise ValueError(f"voice_cache_bytes is {self.voice_cache_bytes}, must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOptions:
    """Options of one text."""

    speed: float = 1.0
    """Speed of the speech, 0.25 to 4: at 2 it takes half the time."""
    seed: int = 0
    """Seed of the noise, 0 or more; equal seeds give equal samples."""
    noise_scale: float | None = None
    """Scale of the latents' noise, 0 for none; `None` for the voice's (0.667)."""
    noise_scale_duration: float | None = None
    """Scale of the durations' noise, 0 for none; `None` for the voice's (0.8)."""
    numbers: SpokenNumbers = "words"
    """Treatment of numbers, dates and symbols."""
    numbers_language: str | None = None
    """Code or name of the language in which they are read; `None` for the voice's."""
    map_look_alikes: bool = False
    """Whether a letter that the voice lacks is spoken as one that looks like it."""
    pause_scale: float = 1.0
    """Factor of the pauses at punctuation; 0 for none. A `<break>` is not scaled."""
    short_letters: int = 3
    """Letters up to which a sentence is spoken within repetitions of itself, which are cut off:
    voices garble a sentence of few letters. 0 for never."""
    by_part: bool = False
    """Whether each part of a text that arrives in parts ends a sentence, as a line does."""

    def __post_init__(self) -> None:
        if not SLOWEST <= self.speed <= FASTEST:
            raise ValueError(f"speed is {self.speed}, must be {SLOWEST:g} to {FASTEST:g}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, must be 0 or more")
        for name in ("noise_scale", "noise_scale_duration", "pause_scale"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 10:
                raise ValueError(f"{name} is {value}, must be 0 to 10")
        if self.short_letters < 0:
            raise ValueError(f"short_letters is {self.short_letters}, must be 0 or more")
