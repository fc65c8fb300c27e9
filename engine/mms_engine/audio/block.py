"""Decoded blocks of audio, and the report of what is missing or doubtful."""

from dataclasses import dataclass

from mms_engine.audio.limits import AudioLimits
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array, Span

NO_SAMPLES = "no samples"
"""Reason of `Undecodable` for a known format without audio."""
TOLERANCE_SECONDS = 0.1
"""Missing audio that is not reported."""


class Undecodable(Exception):
    """The decoder cannot read a file. The message is the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive frames at the rate and channel count of the file."""

    frames: Float32Array
    """Shape `[N, channels]`; full scale is ±1."""
    sample_rate: int
    """Frames per second."""


class Report:
    """Missing spans and warnings of one read."""

    def __init__(self, name: str, *, allow_missing: bool) -> None:
        self.name = name
        """Name of the audio, for messages."""
        self.missing: list[Span] = []
        """Spans without audio, in order."""
        self.warnings: list[str] = []
        self._allow_missing = allow_missing

    def warn(self, message: str) -> None:
        """Add a warning, once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def lose(self, start: float, end: float, reason: str, *, is_end: bool = False) -> None:
        """Record a span of damaged audio.

        Args:
            start: Seconds.
            end: Seconds.
            reason: Cause.
            is_end: Whether nothing follows.

        Raises:
            AudioError: missing audio is not allowed.
        """
        if not self._allow_missing:
            what = "truncated after" if is_end else "damaged at"
            lost = f"{end - start:.2f} s are missing"
            raise self._error(f"{what} {start:.2f} s: {reason}; {lost}")
        if self.missing and start - self.missing[-1].end < 0.001:
            start = self.missing.pop().start
        self.missing.append(Span(round(start, 3), round(end, 3)))

    def cut(self, seconds: float, reason: str) -> None:
        """Record that audio of unknown duration is missing behind the end.

        Raises:
            AudioError: missing audio is not allowed.
        """
        if not self._allow_missing:
            raise self._error(f"truncated after {seconds:.2f} s: {reason}")
        self.warn(f"truncated after {seconds:.2f} s: {reason}")

    def _error(self, what: str) -> AudioError:
        return AudioError(
            f"{self.name} is {what}. Get a complete copy, or use the decodable part with "
            "allow_truncated=True (on the command line: --allow-truncated)"
        )

    def all_warnings(self) -> tuple[str, ...]:
        """Return the warnings, and one line about the missing spans."""
        if not self.missing:
            return tuple(self.warnings)
        total = sum(span.end - span.start for span in self.missing)
        first = ", ".join(f"{span.start:.2f}-{span.end:.2f} s" for span in self.missing[:5])
        more = f" and {len(self.missing) - 5} more" if len(self.missing) > 5 else ""
        return (*self.warnings, f"{total:.2f} s of audio are missing: {first}{more}")


def check_channels(name: str, channels: int, limits: AudioLimits) -> None:
    """Check the number of channels, before a block of them is allocated.

    Raises:
        AudioError: it is above the limit.
    """
    if channels > limits.max_channels:
        raise AudioError(
            f"{name} has {channels} channels, the limit is {limits.max_channels}: extract the "
            "channels with speech, or raise the limit (AudioLimits.max_channels, --max-channels)"
        )


def no_samples(name: str) -> AudioError:
    """Return the error for audio without samples."""
    return AudioError(f"{name} contains no samples: choose a file with audio")
