"""Options of speech recognition."""

from dataclasses import dataclass, field

from mms_engine.audio.running_norm import NormalizationOptions
from mms_engine.backends.options import RunOptions
from mms_engine.decoding.options import Search
from mms_engine.encoder.windows import WindowOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizerOptions(RunOptions):
    """Options of a `Recognizer`."""

    beam: Search | None = None
    """`BeamSearch`, `LexiconSearch` over a list of words, or `None` for greedy decoding, which
    takes the most likely token of each frame."""
    batch_frames: int = 0
    """Frames of one encoder run, padding included (20 ms each): the bound on memory. 0 for the
    device's default: one full window on a CPU, sixteen on a GPU."""
    read_ahead_seconds: float = 300.0
    """Audio read ahead, so that rows of similar length can share a batch."""
    allow_truncated: bool = False
    """Whether a truncated or damaged file yields its decodable audio, with silence in place of what
    is missing, rather than an error."""
    track: int | None = None
    """Audio track of files with several, from 1; `None` for the default one."""
    channel: int | None = None
    """Channel, from 1; `None` for the mean, or for the loudest where channels cancel out."""
    normalization: NormalizationOptions | None = None
    """Running mean and variance, for speech between long silence or of changing level; `None` for
    those of each whole recording, as in training."""
    windows: WindowOptions = field(default_factory=WindowOptions)

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is a new class, which the zero-argument form misses.
        RunOptions.__post_init__(self)
        if self.batch_frames < 0:
            raise ValueError(f"batch_frames is {self.batch_frames}, must not be negative")
        for name in ("track", "channel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
        if not self.read_ahead_seconds > 0:
            raise ValueError(f"read_ahead_seconds is {self.read_ahead_seconds}, must be positive")
