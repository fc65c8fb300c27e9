"""Options of speech recognition."""

from dataclasses import dataclass, field, replace

from mms_engine.audio.running_norm import NormalizationOptions
from mms_engine.backends.options import RunOptions
from mms_engine.decoding.options import Search
from mms_engine.encoder.windows import WindowOptions
from mms_engine.system import usable_cores

_RECORDINGS_PER_RUN = 4
"""Fewer would leave cores idle behind the last ones for too much of the time."""
_MOST_RUNS = 4
"""Each takes the memory of a batch's activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizerOptions(RunOptions):
    """Options of a `Recognizer`."""

    beam: Search | None = None
    """`BeamSearch`, `LexiconSearch` over a list of words, or `None` for greedy decoding, which
    takes the most likely token of each frame."""
    batch_frames: int = 0
    """Frames of one encoder run, padding included (20 ms each): the bound on memory. 0 for the
    device's default: one full window on a CPU, sixteen on a GPU."""
    concurrent_runs: int = 1
    """Encoder runs at once on a CPU, which share `threads` and the default of `batch_frames`. More
    than one suits many recordings: cores wait less for each other, but one recording alone takes
    longer. See `concurrent_runs`."""
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
        if self.concurrent_runs < 1:
            raise ValueError(f"concurrent_runs is {self.concurrent_runs}, must be at least 1")
        for name in ("track", "channel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
        if not self.read_ahead_seconds > 0:
            raise ValueError(f"read_ahead_seconds is {self.read_ahead_seconds}, must be positive")

    def per_run(self) -> "RecognizerOptions":
        """Return the options of the sessions: the threads of one of the concurrent runs."""
        if self.concurrent_runs == 1:
            return self
        cores = self.threads or usable_cores()
        return replace(self, threads=max(1, cores // self.concurrent_runs))


def concurrent_runs(recordings: int, threads: int = 0) -> int:
    """Return the concurrent runs that suit a number of recordings.

    Args:
        recordings: Number of recordings.
        threads: As `RunOptions.threads`.
    """
    return max(1, min(threads or usable_cores(), recordings // _RECORDINGS_PER_RUN, _MOST_RUNS))
