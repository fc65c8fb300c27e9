"""Limits on untrusted audio."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds enforced on decoded audio, during decoding.

    Sizes declared by headers are not trusted, so memory and disk stay bounded for any input.
    """

    max_seconds: float = 4 * 3600.0
    """Maximum duration. The default, 4 hours, takes 0.9 GB on disk as float32 at 16 kHz."""
    max_bytes: int = 4 * 2**30
    """Maximum size of a file or stream. The default, 4 GiB, is also the limit of WAV."""
    max_channels: int = 64
    """Maximum number of channels, which are mixed down to one."""

    def __post_init__(self) -> None:
        for name in ("max_seconds", "max_bytes", "max_channels"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"AudioLimits.{name} must be positive, got {value}")
