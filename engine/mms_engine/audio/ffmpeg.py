"""Decoder with FFmpeg (PyAV): MP3, MP4, WebM, AAC, G.722, AMR and other containers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mms_engine.audio.block import (
    NO_SAMPLES,
    Block,
    Undecodable,
    check_channels,
    damaged,
    truncated,
)
from mms_engine.audio.input import AudioInput
from mms_engine.audio.limits import AudioLimits
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_FORMATS = (
    "3gp aa aac aax ac3 ac4 adx aea aiff alaw amr amrnb amrwb ape asf au avi caf codec2 dsf dss "
    "dts dtshd eac3 flac flv g722 g723_1 g726 g726le g728 g729 gsm gxf iamf iff ilbc ircam lc3 "
    "live_flv loas matroska mlp mov mp3 mp4 mpc mpc8 mpeg mpegts mulaw mxf nistsphere nut ogg oma "
    "paf pvf qcp qoa rm sbc sds shn sln sox tak truehd tta voc w64 wav webm wtv wv wve xwma"
)
# Playlists and the like name other files and hosts, which untrusted input must not open.
_OPTIONS = {"format_whitelist": ",".join(_FORMATS.split()), "protocol_whitelist": "none"}

_TOLERANCE_SECONDS = 0.25
"""Tolerance of a declared duration, which may include the encoder's padding."""
_DECLARING_FORMATS = ("mov", "matroska", "asf")
"""Formats that store their duration; FFmpeg estimates others from the file size."""
_MP3_COUNTS = (b"Xing", b"Info", b"VBRI")
"""Tags of the header in which an MP3 may declare its number of frames."""


def decode(source: AudioInput, limits: AudioLimits, *, allow_truncated: bool) -> Iterator[Block]:
    """Yield the first audio stream of a file in blocks.

    Raises:
        Undecodable: FFmpeg does not know the format.
        AudioError: it has no audio stream, an unknown codec or too many channels; or it is
            truncated or damaged, unless `allow_truncated`.
    """
    import av  # slow to import, and libsndfile reads most files

    source.stream.seek(0)
    try:
        container = av.open(source.stream, "r", options=_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Undecodable(_reason(error)) from error
    with container:
        stream = _audio_stream(source.name, container)
        check_channels(source.name, stream.codec_context.channels, limits)
        yield from _read(source, container, stream, allow_truncated=allow_truncated)


def _audio_stream(name: str, container: "InputContainer") -> "AudioStream":
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no stream"
        raise AudioError(
            f"{name} contains no audio, only {kinds}: choose a file with an audio stream"
        )
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError(
            f"{name} is encoded with a codec that FFmpeg does not know: convert it to WAV or FLAC"
        )
    return stream


def _read(
    source: AudioInput, container: "InputContainer", stream: "AudioStream", *, allow_truncated: bool
) -> Iterator[Block]:
    import av

    seconds = 0.0
    try:
        for frame in container.decode(stream):
            yield Block(_to_float(source.name, frame), frame.sample_rate)
            seconds += frame.samples / frame.sample_rate
    except (av.FFmpegError, OSError) as error:
        if allow_truncated:
            return
        if seconds == 0.0:
            raise Undecodable(_reason(error)) from error
        raise damaged(source.name, seconds, _reason(error)) from error
    if seconds == 0.0:
        raise Undecodable(NO_SAMPLES)
    declared = _declared_seconds(source, container, stream)
    if not allow_truncated and seconds + _TOLERANCE_SECONDS < declared:
        raise truncated(source.name, seconds, f"its header declares {declared:.2f} s")


def _declared_seconds(
    source: AudioInput, container: "InputContainer", stream: "AudioStream"
) -> float:
    """Return the duration in seconds that the file declares, 0 if none."""
    kind = container.format.name
    if not kind.startswith(_DECLARING_FORMATS) and not (kind == "mp3" and _mp3_declares(source)):
        return 0.0
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    # Matroska declares the duration of the whole file; the audio may be shorter than the video.
    if len(container.streams) == 1 and container.duration is not None:
        return float(container.duration) / 1e6
    return 0.0


def _mp3_declares(source: AudioInput) -> bool:
    tag = source.beginning(10)
    size = 0
    if tag[:3] == b"ID3" and len(tag) == 10:
        # ID3 sizes have seven bits per byte.
        size = 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
    first_frame = source.beginning(64, skip=size)
    return any(count in first_frame for count in _MP3_COUNTS)


def _to_float(name: str, frame: "AudioFrame") -> Float32Array:
    """Return a frame's samples as float32 `[N, channels]`, full scale ±1."""
    try:
        array: npt.NDArray[Any] = frame.to_ndarray()
    except ValueError as error:
        kind = frame.format.name
        raise AudioError(f"{name} has samples of type {kind}: convert it to WAV or FLAC") from error
    samples = array.T if frame.format.is_planar else array.reshape(-1, len(frame.layout.channels))
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return (samples / full_scale).astype(np.float32)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
