"""Choice of the audio track."""

from typing import TYPE_CHECKING

from mms_engine.audio.block import Report, check_channels
from mms_engine.audio.limits import ReadOptions
from mms_engine.errors import AudioError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_DEFAULT = 1
"""FFmpeg's AV_DISPOSITION_DEFAULT."""


def choose_track(
    container: "InputContainer", options: ReadOptions, report: Report
) -> "AudioStream":
    """Return the chosen audio track, or the default one.

    Raises:
        AudioError: there is none, or it cannot be decoded.
    """
    tracks = container.streams.audio
    name = report.name
    if not tracks:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no stream"
        raise AudioError(
            f"{name} contains no audio, only {kinds}: choose a file with an audio stream"
        )
    if options.track is not None and options.track > len(tracks):
        raise AudioError(
            f"{name} has no track {options.track}: its audio tracks are 1 to {len(tracks)}"
        )
    if options.track is not None:
        stream = tracks[options.track - 1]
    else:
        stream = next((track for track in tracks if track.disposition & _DEFAULT), tracks[0])
        if len(tracks) > 1:
            kinds = ", ".join(str(track.metadata.get("language", "unknown")) for track in tracks)
            report.warn(
                f"track {tracks.index(stream) + 1} of {len(tracks)} audio tracks is read "
                f"(languages: {kinds}); choose another with --track"
            )
    if stream.codec_context is None:
        raise AudioError(
            f"{name} is encoded with a codec that FFmpeg does not know: convert it to WAV or FLAC"
        )
    channels = stream.codec_context.channels
    check_channels(name, channels, options.limits)
    if options.channel is not None and options.channel > channels:
        raise AudioError(
            f"{name} has no channel {options.channel}: its channels are 1 to {channels}"
        )
    return stream
