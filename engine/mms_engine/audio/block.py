"""Decoded blocks of audio, and the errors that decoders share."""

from dataclasses import dataclass

from mms_engine.audio.limits import AudioLimits
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

NO_SAMPLES = "no samples"
"""Reason of `Undecodable` for a known format without audio."""


class Undecodable(Exception):
    """One decoder cannot read a file; another may. The message is the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive frames at the rate and channel count of the file."""

    frames: Float32Array
    """Shape `[N, channels]`; full scale is ±1."""
    sample_rate: int
    """Frames per second."""


def check_channels(name: str, channels: int, limits: AudioLimits) -> None:
    """Check the number of channels, before a block of them is allocated.

    Raises:
        AudioError: it is above the limit.
    """
    if channels > limits.max_channels:
        raise AudioError(
            f"{name} has {channels} channels, the limit is {limits.max_channels}: extract the "
            "channels with speech, or raise AudioLimits.max_channels"
        )


def no_samples(name: str) -> AudioError:
    """Return the error for audio without samples."""
    return AudioError(f"{name} contains no samples: choose a file with audio")


def truncated(name: str, seconds: float, why: str) -> AudioError:
    """Return the error for a truncated file."""
    return AudioError(
        f"{name} is truncated after {seconds:.2f} s: {why}. Get the complete file, or use the "
        "decodable part with allow_truncated=True (on the command line: --allow-truncated)"
    )


def damaged(name: str, seconds: float, reason: str) -> AudioError:
    """Return the error for a file that cannot be decoded past some point."""
    return AudioError(
        f"{name} is damaged or truncated after about {seconds:.1f} s ({reason}). Get a complete "
        "copy, or use the decodable part with allow_truncated=True (on the command line: "
        "--allow-truncated)"
    )
