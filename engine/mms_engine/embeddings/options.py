"""Options of embeddings."""

from dataclasses import dataclass, field

from mms_engine.backends.options import RunOptions
from mms_engine.encoder.windows import WindowOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderOptions(RunOptions):
    """Options of an `Embedder`."""

    windows: WindowOptions = field(default_factory=WindowOptions)
    """Windows of long audio."""
    batch_frames: int = 0
    """Frames of one encoder run, padding included (20 ms each); 0 for the device's default: one
    full window on a CPU, sixteen on a GPU."""
    allow_truncated: bool = False
    """Whether a truncated or damaged file is embedded, with silence in place of what is missing,
    rather than an error."""
    track: int | None = None
    """Audio track of files with several, from 1; `None` for the default one."""
    channel: int | None = None
    """Channel, from 1; `None` for the mean, or for the loudest where channels cancel out."""

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is a new class, which the zero-argument form misses.
        RunOptions.__post_init__(self)
        if self.batch_frames < 0:
            raise ValueError(f"batch_frames is {self.batch_frames}, must not be negative")
        for name in ("track", "channel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
