"""Decoding of any container and codec with FFmpeg (PyAV), packet by packet."""

import itertools
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from mms_engine.audio import containers
from mms_engine.audio.block import (
    NO_SAMPLES,
    TOLERANCE_SECONDS,
    Block,
    Report,
    Undecodable,
)
from mms_engine.audio.containers import OggPage
from mms_engine.audio.input import Splice
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.samples import to_float
from mms_engine.audio.timeline import Loss, TimedFrames, Timeline
from mms_engine.audio.tracks import choose_track

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_FORMATS = (
    "3gp aa aac aax ac3 ac4 adx aea aiff alaw amr amrnb amrwb ape asf au avi caf codec2 dsf dss "
    "dts dtshd eac3 flac flv g722 g723_1 g726 g726le g728 g729 gsm gxf iamf iff ilbc ircam lc3 "
    "live_flv loas matroska mlp mov mp3 mp4 mpc mpc8 mpeg mpegts mulaw mxf nistsphere nut ogg oma "
    "paf pvf qcp qoa rm sbc sds shn sln sox tak truehd tta voc w64 wav webm wtv wv wve xwma"
)
# Playlists and the like name other files and hosts, which untrusted input must not open.
DEMUXER_OPTIONS = {
    "format_whitelist": ",".join(_FORMATS.split()),
    "protocol_whitelist": "none",
}
"""Options with which FFmpeg opens untrusted files."""
_PCM_OPTIONS = DEMUXER_OPTIONS | {"max_size": "65536"}
"""Larger packets than the default of 4 KB, which takes five times as long."""
_PIPE_OPTIONS = DEMUXER_OPTIONS | {"analyzeduration": "500000"}
"""The analysis of the streams, in µs of audio, delays the first samples."""
_BUFFER, _PIPE_BUFFER = 32_768, 4096
_CLOCK_RESETS = 0x200
"""FFmpeg's AVFMT_TS_DISCONT."""
_BARE = frozenset({"aac", "ac3", "amr", "dts", "eac3", "gsm", "loas", "mlp", "mp3", "sbc"})
"""Formats of mere frames: FFmpeg counts them for time stamps, so that a lost one moves the rest."""
_TIMED = frozenset(
    {"asf", "avi", "flv", "matroska", "mov", "mpeg", "mpegts", "mxf", "nut", "ogg", "wtv"}
)
"""Formats that store time stamps, so that audio may pause; elsewhere a gap is damage."""
_IN_ORDER = _BARE | {"flac", "flv", "matroska", "nut", "ogg"}
"""Formats whose packets are read in the order of the file, with little between them."""
_DECLARING = frozenset(
    {"aiff", "ape", "asf", "au", "avi", "flac", "flv", "matroska", "mov", "mpc", "mpc8"}
    | {"ogg", "tta", "wv"}
)
"""Formats that store their duration; FFmpeg estimates others from the file size."""
_SIZED = ("caf", "w64", "wav")
"""Formats whose declared sizes FFmpeg checks only where it cannot seek; see `links`."""
_CODEC_OPTIONS = {
    ("", "flac"): {"err_detect": "crccheck+explode"},
    # The last packet is short already, and FFmpeg would trim it again.
    ("caf", "alac"): {"flags2": "+skip_manual"},
}
"""Options by container, empty for any, and codec."""
_PRIMING_SECONDS = 0.2
"""Longest start of a container that is its encoder's delay."""
_LIVE_SECONDS = 600.0
"""Shortest start of a container that is the clock of a broadcast."""
_PADDING_SECONDS = 0.25
"""Longest difference of a declared duration that may be an encoder's padding."""
_DEMUX_ERRORS = 10
_PACKET_STREAMS = _BARE | {"mpeg", "mpegts"}
"""Formats that may end anywhere, of which a short last packet shows a cut."""
_MATROSKA_BLOCKS = (b"\xa3", b"\xa0")
"""Identifiers of SimpleBlock and BlockGroup."""
_NUT_INDEX = b"NX"
_SCAN_BYTES = 1 << 16
_EMPTY_PAGE = 64
"""Largest Ogg page that may hold no audio, such as a last one that only ends the stream."""


class ContainerDecoder:
    """Decoder of one container, of a file or a pipe."""

    def __init__(self, content: IO[bytes] | Splice, timeline: Timeline, report: Report) -> None:
        self.covered = 0
        """Offset behind the last packet."""
        self.joined_at: int | None = None
        """Offset of another container behind the last good packet."""
        self._content = content
        self._splice = content if isinstance(content, Splice) else None
        self._timeline = timeline
        self._report = report
        self._loss = Loss()
        self._packet_start = -1
        self._sizes = _PacketSizes()
        self._page: OggPage | None = None
        self._page_pts: int | None = None
        self._first_pts: int | None = None
        self._declared = 0.0
        self._last_time = 0.0

    def decode(
        self, options: ReadOptions, *, is_first: bool = True, is_pcm: bool = False
    ) -> Iterator[Block]:
        """Yield the audio; see `decode`.

        Args:
            options: Limits and choices.
            is_first: Whether no other container precedes it in the file.
            is_pcm: Whether it is known to hold PCM, which is read in large packets.
        """
        import av  # slow to import, and not needed for arrays

        options_of_format = _PCM_OPTIONS if is_pcm else DEMUXER_OPTIONS
        if self._splice is None:
            options_of_format = _PIPE_OPTIONS
        try:
            container = av.open(
                cast("IO[bytes]", self._content),
                "r",
                options=options_of_format,
                buffer_size=_PIPE_BUFFER if self._splice is None else _BUFFER,
                metadata_errors="replace",
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise Undecodable(_reason(error)) from error
        with container:
            stream = choose_track(container, options, self._report)
            self._format = container.format.name.partition(",")[0]
            self._begin_time(container, is_first=is_first)
            self._before = self._timeline.seconds
            frames: Iterator[TimedFrames | None] = self._frames(container, stream)
            for piece, following in itertools.pairwise(itertools.chain(frames, [None])):
                if piece is not None:
                    yield from self._timeline.place(piece, following)
            if self._timeline.seconds == self._before:
                raise Undecodable(self._loss.reason or NO_SAMPLES)
            self._declared = self._declared_end(container, stream)

    def _begin_time(self, container: "InputContainer", *, is_first: bool) -> None:
        """Choose the time stamp of time 0: 0, or the first one where 0 has no meaning."""
        start = (container.start_time or 0) / 1e6
        resets = bool(container.format.flags & _CLOCK_RESETS)
        if start > _LIVE_SECONDS and is_first and not resets:
            self._report.warn(f"its time stamps begin at {start:.0f} s, which is taken for 0")
        is_zero = not is_first or resets or not _PRIMING_SECONDS <= start <= _LIVE_SECONDS
        self._zero = max(start, 0.0) if is_zero else 0.0
        self._timeline.begin(resets=resets, has_gaps=self._format in _TIMED)

    def _frames(self, container: "InputContainer", stream: "AudioStream") -> Iterator[TimedFrames]:
        import av

        options = _CODEC_OPTIONS.get((self._format, stream.codec_context.name))
        options = options or _CODEC_OPTIONS.get(("", stream.codec_context.name), {})
        stream.codec_context.options = dict(options)
        for packet in self._packets(container):
            self._cover(packet)
            if packet.stream.index != stream.index:  # its own index is 0 in a last, empty packet
                continue
            if packet.size and self._is_joined(packet):
                return
            self._renumber(packet)
            try:
                frames = cast("list[AudioFrame]", packet.decode())
            except (av.FFmpegError, OSError) as error:
                self._loss.size += packet.size
                self._loss.reason = self._loss.reason or _reason(error)
                continue
            if packet.size:
                self._sizes.see(packet.size, is_cut=packet.is_corrupt)
            for frame in frames:
                yield self._timed(frame, packet.size // len(frames))

    def _packets(self, container: "InputContainer") -> "Iterator[Packet[Any]]":
        import av

        errors = 0
        while errors < _DEMUX_ERRORS:
            try:
                for packet in container.demux():
                    yield packet
                    errors = 0
            except IndexError:  # PyAV, at the end of a file in which streams appeared late
                return
            except (av.FFmpegError, OSError) as error:
                errors += 1
                self._loss.reason = self._loss.reason or _reason(error)
            else:
                return

    def _cover(self, packet: "Packet[Any]") -> None:
        """Count bytes between packets; those of one Ogg page or lacing share their offset."""
        if packet.pts is not None and packet.time_base:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self._last_time = max(self._last_time, end)
        if packet.pos is None or not packet.size:
            return
        if packet.pos != self._packet_start:
            skipped = packet.pos - self.covered if self._packet_start >= 0 else 0
            if self._format in _IN_ORDER and skipped > 0:
                self._loss.size += skipped
                self._page = self._page_before(packet)
            self._packet_start, self.covered = packet.pos, max(self.covered, packet.pos)
        self.covered += packet.size

    def _page_before(self, packet: "Packet[Any]") -> OggPage | None:
        """Return the Ogg page before that of a packet, if it was skipped."""
        if self._format != "ogg" or self._splice is None or not packet.pos:
            return None
        page = containers.ogg_page_before(self._splice, packet.pos)
        serial = self._splice.at(packet.pos + 14, 4)
        is_skipped = page is not None and page.offset >= self.covered and page.serial == serial
        return page if is_skipped and page and page.granule > 0 else None

    def _renumber(self, packet: "Packet[Any]") -> None:
        """Count time stamps on an Ogg page from the granule of the page before, if it was skipped.

        FFmpeg counts on from the last packet that it read.
        """
        if self._first_pts is None:
            self._first_pts = packet.pts
        if self._page is not None and packet.pos == self._packet_start and packet.size:
            if self._page_pts is None:
                self._page_pts = self._page.granule + min(self._first_pts or 0, 0)
            packet.pts = packet.dts = self._page_pts
            self._page_pts += packet.duration or 0
        else:
            self._page = self._page_pts = None

    def _is_joined(self, packet: "Packet[Any]") -> bool:
        """Return whether another file begins in a packet, as in joined MP3s."""
        if self._format not in _BARE or self._splice is None or not packet.pos:
            return False
        content = bytes(packet)
        offset = containers.find_container(content)
        if offset is None and self._format == "mp3" and containers.mp3_seconds(content):
            offset = 0
        if offset is None:
            return False
        self.joined_at = packet.pos + offset
        return True

    def _timed(self, frame: "AudioFrame", size: int) -> TimedFrames:
        start = None
        if frame.pts is not None and self._format not in _BARE:
            start = float(frame.pts * (frame.time_base or 0)) - self._zero
        loss, self._loss = self._loss, Loss()
        frames = to_float(self._report.name, frame)
        return TimedFrames(frames, frame.sample_rate, start, size, loss)

    def _declared_end(self, container: "InputContainer", stream: "AudioStream") -> float:
        """Return the end of the audio that the container declares, in seconds, 0 if none."""
        if self._format == "mp3":
            return self._mp3_seconds()
        is_pipe = self._splice is None and self._format in _SIZED
        if self._format not in _DECLARING and not is_pipe:
            return 0.0
        if stream.duration is not None and stream.time_base is not None:
            start = 0 if self._format == "asf" else stream.start_time or 0
            return float((start + stream.duration) * stream.time_base) - self._zero
        # Matroska declares the end of the whole file; the video may be longer than the audio.
        end = (container.duration or 0) / 1e6
        if len(container.streams) > 1 and end - self._last_time < _PADDING_SECONDS:
            return 0.0
        return end - self._zero

    def _mp3_seconds(self) -> float:
        """Return the duration by the frame count of an MP3's first frame, 0 if it has none.

        FFmpeg takes an estimate in its place where the size of the file has changed since.
        """
        if self._splice is None:
            return 0.0
        tag = self._splice.at(0, 10)
        size = 0
        if tag[:3] == b"ID3" and len(tag) == 10:
            # ID3 sizes have seven bits per byte.
            size = 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
        return containers.mp3_seconds(self._splice.at(size, 256))

    def finish(self, missing_bytes: int = 0, *, is_followed: bool = False) -> None:
        """Check that the audio is complete.

        Args:
            missing_bytes: Bytes of audio known to be missing behind the end.
            is_followed: Whether another container follows in the file.

        Raises:
            AudioError: it is truncated, and missing audio is not allowed.
        """
        report, end, loss = self._report, self._timeline.seconds, self._loss
        missing = self._timeline.seconds_of(missing_bytes)
        short = self._declared - (end - self._before)
        is_cut = self._format in _PACKET_STREAMS and self._sizes.is_cut
        is_lost = self._timeline.seconds_of(loss.size) > TOLERANCE_SECONDS
        is_damaged = bool(is_lost or loss.reason or is_cut)
        if is_followed and not is_damaged:
            return  # FFmpeg's estimate of the duration includes what follows
        if missing > TOLERANCE_SECONDS:
            why = f"its header declares {end + missing:.2f} s"
            report.lose(end, end + missing, why, is_end=True)
        elif short > (TOLERANCE_SECONDS if is_damaged else _PADDING_SECONDS):
            why = f"its header declares {end + short:.2f} s"
            report.lose(end, end + short, loss.reason or why, is_end=True)
        elif short > TOLERANCE_SECONDS:
            report.warn(f"its header declares {end + short:.2f} s, it has {end:.2f} s")
        elif self._format == "ogg":
            self._finish_ogg(end)
        elif not self._declared:
            lost = loss.size + self._bytes_behind()
            if self._timeline.seconds_of(lost) > TOLERANCE_SECONDS:
                report.warn(f"{lost} bytes after {end:.2f} s hold no audio")
            elif is_damaged or self._ends_within_block():
                report.warn("it ends within a frame, and may be truncated")

    def _ends_within_block(self) -> bool:
        """Return whether a block of Matroska begins behind the last packet."""
        if self._format != "matroska" or self._splice is None:
            return False
        return self._splice.at(self.covered, 1) in _MATROSKA_BLOCKS

    def _bytes_behind(self) -> int:
        """Return the number of bytes behind the last packet, less trailing zeros and an index."""
        if self._format not in _IN_ORDER - _BARE or self._splice is None:
            return 0
        behind = self._splice.at(self.covered, _SCAN_BYTES).rstrip(b"\0")
        return 0 if behind.startswith(_NUT_INDEX) else len(behind)

    def _finish_ogg(self, end: float) -> None:
        if self._splice is None:
            return
        page = containers.ogg_page_before(self._splice, self._splice.size)
        if page is None:
            return
        if not page.size or page.offset + page.size > self._splice.size:
            self._report.cut(end, "its last page is incomplete")
        elif page.offset > self._packet_start and page.size > _EMPTY_PAGE:
            self._report.cut(end, "its last page is damaged")
        elif not page.is_last:
            self._report.warn("it has no end-of-stream page, and may be truncated")


class _PacketSizes:
    """Sizes of packets, of which a shorter last one shows a cut where all others are equal."""

    def __init__(self) -> None:
        self._smallest, self._largest = 1 << 30, 0
        self._last = 0
        self._is_cut = False

    def see(self, size: int, *, is_cut: bool) -> None:
        """Take the size of the next packet."""
        if self._last:
            self._smallest = min(self._smallest, self._last)
            self._largest = max(self._largest, self._last)
        self._last, self._is_cut = size, is_cut

    @property
    def is_cut(self) -> bool:
        """Whether the last packet is incomplete."""
        is_constant = self._largest - self._smallest <= 1 + self._largest // 50
        return self._is_cut or (is_constant and self._last < self._smallest - 1)


def _reason(error: Exception) -> str:
    reason = str(getattr(error, "strerror", None) or error)
    return "invalid data" if reason.startswith("Error number") else reason
