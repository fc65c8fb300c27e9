"""Decoder with libsndfile: WAV, FLAC, Ogg, AIFF and related formats, exact and fast."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    import soundfile

# First bytes of its formats. libsndfile would take anything else for MP3, and its MP3 decoder
# prints to stderr.
_BEGINNINGS = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b".snd", b"dns.", b"caff",
)  # fmt: skip
_FRAMES = 1 << 13
_TRUNCATED_FRAMES = 1 << 10
"""A failed read loses its frames, so reads are small where a truncated file is accepted."""
_INCOMPLETE_INFO = 24
_UNKNOWN_LENGTH = 0x7FFFF000
"""Smallest size that programs write when the length is not known in advance."""
_TRUNCATED_CHUNK = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
"""Line of libsndfile's log for a chunk that extends past the end of the file."""


def decode(source: AudioInput, limits: AudioLimits, *, allow_truncated: bool) -> Iterator[Block]:
    """Yield audio in blocks.

    Raises:
        Undecodable: libsndfile does not know the format, or finds no samples.
        AudioError: it has too many channels; or it is truncated or damaged, unless
            `allow_truncated`.
    """
    if source.beginning(4) not in _BEGINNINGS:
        raise Undecodable("not one of its formats")
    import soundfile  # slow to import, and not needed for other formats

    try:
        # Given a path, libsndfile would infer a headerless format from the suffix.
        descriptor = source.stream.descriptor
        file = soundfile.SoundFile(
            source.stream if descriptor is None else descriptor, closefd=False
        )
    except soundfile.LibsndfileError as error:
        raise Undecodable(_reason(error)) from error
    with file:
        if file.frames == 0:
            raise Undecodable(NO_SAMPLES)
        check_channels(source.name, file.channels, limits)
        yield from _read(source, file, allow_truncated=allow_truncated)


def _reason(error: "soundfile.LibsndfileError") -> str:
    if error.code == _INCOMPLETE_INFO:
        return "its header declares an impossible sample rate"
    return str(error.error_string).removeprefix("Error : ").strip(". ")


def _read(
    source: AudioInput, file: "soundfile.SoundFile", *, allow_truncated: bool
) -> Iterator[Block]:
    import soundfile

    size = _TRUNCATED_FRAMES if allow_truncated else _FRAMES
    done = 0
    while True:
        try:
            frames = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if allow_truncated:
                return
            raise damaged(source.name, done / file.samplerate, _reason(error)) from error
        if len(frames) == 0:
            break
        done += len(frames)
        yield Block(frames, file.samplerate)
    if not allow_truncated:
        _check_complete(source, file, done)


def _check_complete(source: AudioInput, file: "soundfile.SoundFile", done: int) -> None:
    seconds = done / file.samplerate
    if done < file.frames < _UNKNOWN_LENGTH:
        declared = file.frames / file.samplerate
        raise truncated(source.name, seconds, f"its header declares {declared:.2f} s")
    for declared, present in _TRUNCATED_CHUNK.findall(file.extra_info):
        # A single missing byte is the padding of an odd chunk.
        if int(present) + 1 < int(declared) < _UNKNOWN_LENGTH:
            why = f"its header declares {declared} bytes, {present} are present"
            raise truncated(source.name, seconds, why)
    if file.format == "OGG" and _ogg_is_truncated(source):
        raise truncated(source.name, seconds, "its last page is incomplete")


def _ogg_is_truncated(source: AudioInput) -> bool:
    """Return whether the last page extends past the end of the file."""
    # A page is at most 27 + 255 + 255 * 255 bytes.
    source.stream.seek(max(0, source.size - 2 * 65_536))
    tail = source.stream.read()
    page = tail.rfind(b"OggS")
    header = tail[page : page + 27]
    if page < 0 or len(header) < 27:
        return True
    lacing = tail[page + 27 : page + 27 + header[26]]
    return len(lacing) < header[26] or page + 27 + header[26] + sum(lacing) > len(tail)
