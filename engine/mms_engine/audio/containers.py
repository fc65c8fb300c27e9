"""Recognition of containers by their first bytes, and the extent of audio inside a file.

Sizes in headers are hints: programs that stop early leave stale ones, pipes leave none, and
complete files are joined end to end.
"""

import re
import struct
from dataclasses import dataclass

from mms_engine.audio.input import AudioInput, Splice

_MAGIC = re.compile(
    rb"RIFF....(?:WAVE|AVI )|RIFX....WAVE|RF64....WAVE|FORM....AIF[FC]|riff\x2e\x91\xcf\x11"
    rb"|fLaC[\x00\x80]\x00\x00\x22|OggS\x00[\x02\x06]|\x1aE\xdf\xa3|\x00\x00..ftyp|FLV\x01"
    rb"|TTA1\x01\x00|caff\x00\x01|\.snd\x00\x00..|#!AMR|wvpk|MAC |ID3[\x02-\x04]"
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11|nut/multimedia",
    re.DOTALL,
)
"""First bytes of containers; ID3 stands before MP3 and AAC."""
_MP3_COUNT = re.compile(
    rb"\xff[\xe2-\xff][\x00-\xf3].(?:.{9}|.{17}|.{32})(Xing|Info|VBRI)", re.DOTALL
)
"""First frame of an MP3 that holds the number of frames instead of audio."""
_CHUNK = 1 << 20
_OVERLAP = 32
_UNKNOWN_SIZE = 0x7FFFF000
"""Smallest size that programs write when the length is not known in advance."""
_PAGE = 27
"""Bytes of the fixed part of an Ogg page's header."""
_FORM = 16
"""Bytes of the common part of a WAV's format."""
_PCM_TAGS = (1, 3, 0xFFFE)
"""Format tags of integer, float and extensible PCM."""


def is_container(beginning: bytes) -> bool:
    """Return whether bytes begin a container rather than PCM samples.

    Args:
        beginning: First bytes of a stream; 4 KB suffice.
    """
    return _MAGIC.match(beginning) is not None or _is_mpeg(beginning)


def _is_mpeg(beginning: bytes) -> bool:
    """Return whether two frames of MP3 or of AAC in ADTS follow each other.

    A single sync word may well be a PCM sample.
    """
    for size in (_adts_size(beginning), _mp3_size(beginning)):
        if size and beginning[:2] == beginning[size : size + 2]:
            return True
    return False


def _adts_size(head: bytes) -> int:
    """Return the bytes of an ADTS frame, 0 if it is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


_MP3_KBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
)


def _mp3_size(head: bytes) -> int:
    """Return the bytes of an MPEG layer III frame, 0 if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, kbits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate == 3:
        return 0
    is_first = version == 3  # MPEG-1
    bits = 1000 * _MP3_KBITS[is_first][kbits]
    size = (144 if is_first else 72) * bits // _mp3_rate(head)
    return size + (head[2] >> 1 & 1) if bits else 0


def _mp3_rate(head: bytes) -> int:
    """Return the sample rate of an MPEG frame, Hz."""
    halvings = {3: 0, 2: 1}.get(head[1] >> 3 & 3, 2)  # MPEG-1, MPEG-2, MPEG-2.5
    return (44_100, 48_000, 32_000)[head[2] >> 2 & 3] >> halvings


def mp3_seconds(frame: bytes) -> float:
    """Return the duration by the frame count in the first frame of an MP3, 0 if it has none."""
    found = _MP3_COUNT.match(frame)
    if found is None or not _mp3_size(frame):
        return 0.0
    rate = _mp3_rate(frame)
    samples = 1152 if frame[1] >> 3 & 3 == 3 else 576  # of a frame in MPEG-1, MPEG-2
    tag = found.end()
    if found[1] == b"VBRI":
        return int.from_bytes(frame[tag + 10 : tag + 14], "big") * samples / rate
    if not int.from_bytes(frame[tag : tag + 4], "big") & 1:
        return 0.0
    count = int.from_bytes(frame[tag + 4 : tag + 8], "big") * samples
    padding = int.from_bytes(frame[tag + 137 : tag + 140], "big")  # at both ends, 12 bits each
    return max(count - (padding >> 12) - (padding & 0xFFF), 0) / rate


def find_container(content: bytes) -> int | None:
    """Return the offset of the first container in bytes."""
    found = _MAGIC.search(content)
    return found.start() if found else None


def next_container(source: AudioInput, start: int) -> int | None:
    """Return the offset of the first container at or behind `start`."""
    while start < source.size:
        found = find_container(source.at(start, _CHUNK + _OVERLAP))
        if found is not None:
            return start + found
        start += _CHUNK
    return None


def ogg_link_end(source: AudioInput, start: int) -> int:
    """Return where the link of a chained Ogg ends that begins at `start`."""
    position, in_headers = start, True
    while position < source.size:
        header = source.at(position, _PAGE + 255)
        if header[:4] != b"OggS" or len(header) < _PAGE:
            found = source.at(position + 1, _CHUNK).find(b"OggS")
            position += 1 + (found if found >= 0 else _CHUNK)
            continue
        is_first = bool(header[5] & 2)
        if is_first and not in_headers:
            return position
        in_headers = in_headers and is_first
        position += _PAGE + header[26] + sum(header[_PAGE : _PAGE + header[26]])
    return source.size


def mp4_link_end(source: AudioInput, start: int) -> int:
    """Return where the MP4 file ends that begins at `start`: at the next `ftyp` box, if any."""
    position = start
    while position < source.size:
        header = source.at(position, 16)
        size, name = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if (name == b"ftyp" and position > start) or len(header) < 16 or size < 8:
            return position if name == b"ftyp" else source.size
        position += size
    return source.size


def caf_missing_bytes(source: AudioInput, start: int) -> int:
    """Return the bytes of audio that a CAF file declares behind its end."""
    position = start + 8
    while len(header := source.at(position, 12)) == 12:
        size = int.from_bytes(header[4:], "big", signed=True)
        if size < 0:
            break
        position += 12 + size
        if header[:4] == b"data":
            return max(0, position - source.size)
    return 0


@dataclass(frozen=True, slots=True)
class OggPage:
    """Header of an Ogg page."""

    offset: int
    serial: bytes
    granule: int
    """Position at its end, in the stream's unit; -1 if no packet ends on it."""
    size: int
    """Bytes with the header; 0 if the header is incomplete."""
    is_last: bool
    """Whether it ends its stream."""


def ogg_page_before(content: "AudioInput | Splice", end: int) -> OggPage | None:
    """Return the last page that begins before `end`."""
    start = max(0, end - 2 * 65_536)  # a page has at most 65,307 bytes
    tail = content.at(start, end - start)
    found = tail.rfind(b"OggS")
    if found < 0:
        return None
    header = tail[found : found + _PAGE + 255]
    size = _PAGE + header[26] + sum(header[_PAGE : _PAGE + header[26]]) if len(header) > 26 else 0
    granule = int.from_bytes(header[6:14], "little", signed=True)
    return OggPage(start + found, header[14:18], granule, size, bool(header[5:6] and header[5] & 4))


@dataclass(frozen=True, slots=True)
class WavLayout:
    """Extent of the audio in a WAV, RF64 or W64 file."""

    header: bytes
    """Everything before the first sample, with unknown sizes in place of wrong ones."""
    ranges: tuple[tuple[int, int], ...]
    """Offsets of samples, start and end."""
    missing_bytes: int
    """Declared bytes of samples behind the end of the file."""
    is_pcm: bool
    sample_rate: int
    channels: int
    is_plain: bool
    """Whether its sizes are right as they stand."""

    @property
    def end(self) -> int:
        """Offset behind the last sample."""
        return self.ranges[-1][1]


def wav_layout(source: AudioInput, start: int) -> WavLayout | None:
    """Return the layout of the WAV file at `start`, `None` if it is none or has no samples."""
    head = source.at(start, 12)
    if head[:4] == b"riff" or head[:4] == b"RF64":
        return _long_layout(source, start)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    ranges: list[tuple[int, int]] = []
    position, form, missing, is_stale = start + 12, b"", 0, False
    while chunk := _chunk(source, position):
        name, size = chunk
        body = position + 8
        if name == b"fmt ":
            form = source.at(body, _FORM)
        position = body + size
        if name == b"data":
            is_stale = _is_stale(source, body, size)
            missing = 0 if is_stale else max(0, position - source.size)
            position = source.size if is_stale else min(position, source.size)
            ranges.append((body, position))
        position += size & 1
        if name == b"data" and _chunk(source, position) is None and _chunk(source, position - 1):
            position -= 1  # written without the padding of an odd chunk
    if not ranges or len(form) < _FORM:
        return None
    header = source.at(start, ranges[0][0] - start)
    header = header[:4] + b"\xff" * 4 + header[8:-4] + b"\xff" * 4
    return _layout(form, header, ranges, missing, is_plain=len(ranges) == 1 and not is_stale)


def _layout(
    form: bytes, header: bytes, ranges: list[tuple[int, int]], missing: int, *, is_plain: bool
) -> WavLayout:
    tag, channels, rate = struct.unpack("<HHI", form[:8])
    return WavLayout(
        header, tuple(ranges), missing, tag in _PCM_TAGS, rate, channels, is_plain=is_plain
    )


def _long_layout(source: AudioInput, start: int) -> WavLayout | None:
    """Return the layout of a W64 or RF64 file, whose sizes have 64 bits."""
    head = source.at(start, 4096)
    name = {b"riff": b"data\xf3\xac\xd3\x11", b"RF64": b"data"}[head[:4]]
    data, fmt, ds64 = (head.find(tag) for tag in (name, b"fmt ", b"ds64"))
    width = 24 if head[:4] == b"riff" else 8
    size_at = ds64 + 16 if ds64 >= 0 else data + 16
    form = head[fmt + width : fmt + width + _FORM]
    if data < 0 or fmt < 0 or len(form) < _FORM:
        return None
    size = int.from_bytes(head[size_at : size_at + 8], "little") - (24 if ds64 < 0 else 0)
    body = start + data + width
    end = min(body + size, source.size) if size else source.size
    return _layout(form, b"", [(body, end)], max(0, body + size - source.size), is_plain=True)


def _chunk(source: AudioInput, position: int) -> tuple[bytes, int] | None:
    """Return the name and size of the RIFF chunk at an offset, `None` if there is none."""
    header = source.at(position, 8)
    if len(header) < 8 or _MAGIC.match(source.at(position, _OVERLAP)):
        return None
    name, size = struct.unpack("<4sI", header)
    fits = position + 8 + size <= source.size + 1 or name == b"data"
    return (name, size) if fits and name.isascii() and name.decode().isprintable() else None


def _is_stale(source: AudioInput, body: int, size: int) -> bool:
    """Return whether the size of a data chunk is unknown, or samples follow it."""
    if size == 0 or size >= _UNKNOWN_SIZE:
        return True
    end = body + size
    rest = source.at(end, _CHUNK)
    if len(rest) < 8 or not any(rest):
        return False
    following = rest[size & 1 :]
    return not (
        _chunk(source, end)
        or _chunk(source, end + 1)
        or _MAGIC.match(rest)
        or _MAGIC.match(following)
        or rest[:3] in (b"TAG", b"ID3")
    )
