"""How much of a stranger's file is read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds that are enforced while a sound is decoded, on what was decoded.

    What a header claims is never believed, so memory and disk stay bounded for any input.
    """

    max_seconds: float = 4 * 3600.0
    """Longest sound. As float32 at 16 kHz the default of 4 hours takes 0.9 GB, on disk."""
    max_bytes: int = 4 * 2**30
    """Largest file or stream. The default, 4 GiB, is also the most that a WAV file can hold."""
    max_channels: int = 64
    """Most channels; all are mixed down to one."""

    def __post_init__(self) -> None:
        for name in ("max_seconds", "max_bytes", "max_channels"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"AudioLimits.{name} must be positive, got {value}")
