"""Options for reading recordings, shared by the commands."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mms_engine.cli.options import grouped
from mms_engine.cli.program import FiniteFloat, section

if TYPE_CHECKING:
    from mms_engine.audio import AudioLimits
    from mms_engine.audio.limits import ReadOptions

_audio = section("Audio")
_OPTIONS = (
    _audio(
        "--track",
        type=click.IntRange(min=1),
        metavar="N",
        help="Audio track of recordings with several, from 1.  [default: the one marked as "
        "default]",
    ),
    _audio(
        "--channel",
        type=click.IntRange(min=1),
        metavar="N",
        help="Channel of recordings with several, from 1.  [default: the mean of all, or the "
        "loudest where they cancel out]",
    ),
    _audio(
        "--allow-truncated",
        is_flag=True,
        help="Transcribe the decodable part of truncated or damaged recordings instead of refusing "
        "them; what is missing becomes silence.",
    ),
    _audio(
        "--max-seconds",
        type=FiniteFloat(min=0, min_open=True),
        metavar="SECONDS",
        help="Maximum duration of a recording; longer ones are refused.  [default: 14400]",
    ),
    _audio(
        "--max-channels",
        type=click.IntRange(min=1),
        metavar="N",
        help="Maximum number of channels of a recording.  [default: 64]",
    ),
    _audio(
        "--max-bytes",
        type=click.IntRange(min=1),
        metavar="N",
        help="Maximum size of a recording on standard input, in bytes. Files may have any size.  "
        "[default: 4294967296]",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioChoice:
    """Options for reading recordings, as given on the command line."""

    track: int | None
    channel: int | None
    allow_truncated: bool
    max_seconds: float | None
    max_channels: int | None
    max_bytes: int | None

    def limits(self) -> "AudioLimits":
        """Return the limits on audio."""
        from mms_engine.audio import AudioLimits

        default = AudioLimits()
        return AudioLimits(
            max_seconds=self.max_seconds or default.max_seconds,
            max_bytes=self.max_bytes or default.max_bytes,
            max_channels=self.max_channels or default.max_channels,
        )

    def reading(self) -> "ReadOptions":
        """Return the options of one read."""
        from mms_engine.audio.limits import ReadOptions

        return ReadOptions(
            limits=self.limits(),
            allow_truncated=self.allow_truncated,
            track=self.track,
            channel=self.channel,
        )


audio_options = grouped("audio", AudioChoice, _OPTIONS)
"""Adds the options of `AudioChoice` as the argument `audio`."""
