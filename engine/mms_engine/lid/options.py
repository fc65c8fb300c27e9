"""Options of language identification."""

from dataclasses import dataclass

from mms_engine.backends.options import RunOptions

SHORTEST_WINDOW, LONGEST_WINDOW = 1.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierOptions(RunOptions):
    """Options of an `Identifier`."""

    window_seconds: float = 20.0
    """Audio of one encoder run, 1 to 60 s; 10 to 30 s are sensible. Longer audio is cut."""
    min_logit: float = 0.0
    """Floor of the best raw logit, below which the answer is `unsure`; -inf for no floor. Softmax
    over thousands of labels makes noise look certain, its raw logits do not. Each checkpoint has a
    scale of its own: calibrate the floor on recordings like yours."""
    min_speech_seconds: float = 0.1
    """Least speech, below which the answer is `no_speech`; 0 to identify anything."""
    batch_frames: int = 0
    """Frames of one encoder run, padding included (20 ms each); 0 for the device's default: one
    full window on a CPU, sixteen on a GPU."""
    allow_truncated: bool = False
    """Whether a truncated or damaged file is identified, with silence in place of what is missing,
    rather than an error."""
    track: int | None = None
    """Audio track of files with several, from 1; `None` for the default one."""
    channel: int | None = None
    """Channel, from 1; `None` for the mean, or for the loudest where channels cancel out."""

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is a new class, which the zero-argument form misses.
        RunOptions.__post_init__(self)
        if not SHORTEST_WINDOW <= self.window_seconds <= LONGEST_WINDOW:
            raise ValueError(
                f"window_seconds is {self.window_seconds}, must be {SHORTEST_WINDOW:g} to "
                f"{LONGEST_WINDOW:g}"
            )
        if not self.min_logit < float("inf"):
            raise ValueError(f"min_logit is {self.min_logit}, must be a number or -inf")
        if not 0 <= self.min_speech_seconds < float("inf"):
            raise ValueError(f"min_speech_seconds is {self.min_speech_seconds}, must be 0 or more")
        if self.batch_frames < 0:
            raise ValueError(f"batch_frames is {self.batch_frames}, must not be negative")
        for name in ("track", "channel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
