"""Limits on untrusted audio, and the choice of what is read from it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds enforced during decoding.

    Sizes declared by headers are not trusted, so memory and disk stay bounded for any input.
    """

    max_seconds: float = 4 * 3600.0
    """Maximum duration of the decoded audio. The default, 4 hours, takes 0.9 GB on disk as float32
    at 16 kHz."""
    max_bytes: int = 4 * 2**30
    """Maximum size of a byte stream, which is copied to a temporary file. Files are decoded in
    place and may be of any size."""
    max_channels: int = 64
    """Maximum number of channels, which are mixed down to one."""

    def __post_init__(self) -> None:
        for name in ("max_seconds", "max_bytes", "max_channels"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"AudioLimits.{name} must be positive, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Limits and choices of one read."""

    limits: AudioLimits = field(default_factory=AudioLimits)
    allow_truncated: bool = False
    """Whether damaged audio is read with silence in place of what is missing."""
    track: int | None = None
    """Audio track, from 1; `None` for the default one."""
    channel: int | None = None
    """Channel, from 1; `None` for the mean of all."""

    def __post_init__(self) -> None:
        for name in ("track", "channel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
