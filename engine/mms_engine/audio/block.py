"""What decoders give, and the errors they share."""

from dataclasses import dataclass

from mms_engine.audio.limits import AudioLimits
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

NO_SAMPLES = "no samples"
"""A reason not to decode: the format may be right, but there is nothing."""


class Undecodable(Exception):
    """One decoder does not know a file's format; another may. The message is the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive frames of a sound as they are in the file."""

    frames: Float32Array
    """Shape `[N, channels]`; full scale is ±1."""
    sample_rate: int
    """Frames per second."""


def check_channels(name: str, channels: int, limits: AudioLimits) -> None:
    """Refuse sounds of too many channels before a block of them is allocated.

    Raises:
        AudioError: more than the limit.
    """
    if channels > limits.max_channels:
        raise AudioError(
            f"{name} has {channels} channels, the limit is {limits.max_channels}: take out the "
            "channels with speech, or raise AudioLimits.max_channels"
        )


def nothing(name: str) -> AudioError:
    """Return the error for a sound without samples."""
    return AudioError(f"{name} holds no samples: give a file that holds sound")


def cut_off(name: str, seconds: float, why: str) -> AudioError:
    """Return the error for a file that ends before it should."""
    return AudioError(
        f"{name} is cut off after {seconds:.2f} s: {why}. Get the whole file, or take what is "
        "there with allow_truncated=True (on the command line: --allow-truncated)"
    )


def damaged(name: str, seconds: float, reason: str) -> AudioError:
    """Return the error for a file that cannot be decoded beyond some time."""
    return AudioError(
        f"{name} is damaged or cut off after about {seconds:.1f} s ({reason}). Get a whole copy, "
        "or take what is there with allow_truncated=True (on the command line: --allow-truncated)"
    )
