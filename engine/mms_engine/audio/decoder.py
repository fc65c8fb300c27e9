"""Decoding of any container and codec with FFmpeg (PyAV), packet by packet."""

import itertools
import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from mms_engine.audio import containers
from mms_engine.audio.block import (
    NO_SAMPLES,
    TOLERANCE_SECONDS,
    Block,
    Report,
    Undecodable,
    check_channels,
)
from mms_engine.audio.containers import WavLayout
from mms_engine.audio.input import AudioInput, Splice
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.timeline import Loss, TimedFrames, Timeline
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

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
_OPTIONS = {
    "format_whitelist": ",".join(_FORMATS.split()),
    "protocol_whitelist": "none",
    "max_size": "65536",  # of a WAV's packets: the default of 4 KB takes five times as long
}
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
    {"aiff", "ape", "asf", "au", "avi", "caf", "flac", "flv", "matroska", "mov", "mpc", "mpc8"}
    | {"ogg", "tta", "w64", "wav", "wv"}
)
"""Formats that store their duration; FFmpeg estimates others from the file size."""
_PRIMING_SECONDS = 0.2
"""Longest start of a container that is its encoder's delay."""
_LIVE_SECONDS = 600.0
"""Shortest start of a container that is the clock of a broadcast."""
_PADDING_SECONDS = 0.25
"""Longest difference of a declared duration that may be an encoder's padding."""
_DEMUX_ERRORS = 10
_MP3_COUNTS = (b"Xing", b"Info", b"VBRI")
"""Tags of the header in which an MP3 may declare its number of frames."""
_MP3_HEADER = re.compile(rb"\xff[\xe2-\xff].{11,34}(?:Xing|Info)", re.DOTALL)
"""First frame of an MP3 that holds this header instead of audio."""
_DEFAULT = 1
"""FFmpeg's AV_DISPOSITION_DEFAULT."""


def decode(source: AudioInput, options: ReadOptions, report: Report) -> Iterator[Block]:
    """Yield the audio of all containers that are joined in a file, in time.

    Raises:
        Undecodable: FFmpeg does not know the format, or finds no samples.
        AudioError: it has no audio track or not the chosen one, an unknown codec or too many
            channels; or audio is missing, unless that is allowed.
    """
    timeline = Timeline(report)
    start: int | None = 0
    while start is not None:
        is_ogg = source.at(start, 4) == b"OggS"
        end = containers.ogg_link_end(source, start) if is_ogg else source.size
        layout = containers.wav_layout(source, start)
        if layout is not None:
            _check_wav(layout, options, report.name)
        if layout is None or layout.is_plain:
            content = Splice(source, b"", (start, end))
        else:
            content = Splice(source, layout.header, *layout.ranges)
        decoder = ContainerDecoder(content, timeline, report)
        try:
            yield from decoder.decode(options)
        except Undecodable:
            if timeline.seconds == 0.0:
                raise
        else:
            decoder.finish(layout.missing_seconds if layout else 0.0)
            if is_ogg:
                _check_ogg(source, end, timeline, report)
        if decoder.joined_at is not None:
            start += decoder.joined_at
        elif end < source.size:
            start = end
        else:
            behind = layout.end if layout else start + max(decoder.covered, 1)
            start = containers.next_container(source, behind)


def decode_pipe(pipe: IO[bytes], options: ReadOptions, report: Report) -> Iterator[Block]:
    """Yield the audio of a container as it arrives.

    Raises:
        Undecodable: as for `decode`, or the container can only be read with seeking.
        AudioError: as for `decode`.
    """
    decoder = ContainerDecoder(pipe, Timeline(report), report)
    yield from decoder.decode(options)
    decoder.finish(0.0)


class ContainerDecoder:
    """Decoder of one container, of a file or a pipe."""

    def __init__(self, content: IO[bytes] | Splice, timeline: Timeline, report: Report) -> None:
        self.covered = 0
        """Offset behind the last packet."""
        self.joined_at: int | None = None
        """Offset of another container behind the last good packet."""
        self._content = content
        self._timeline = timeline
        self._report = report
        self._loss = Loss()
        self._packet_start = -1
        self._is_cut = False
        self._declared = 0.0
        self._last_time = 0.0

    def decode(self, options: ReadOptions) -> Iterator[Block]:
        """Yield the audio; see `decode`."""
        import av  # slow to import, and not needed for arrays

        try:
            container = av.open(
                cast("IO[bytes]", self._content), "r", options=_OPTIONS, metadata_errors="replace"
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise Undecodable(_reason(error)) from error
        with container:
            stream = _choose(container, options, self._report)
            self._format = container.format.name.partition(",")[0]
            self._begin_time(container)
            self._before = self._timeline.seconds
            frames: Iterator[TimedFrames | None] = self._frames(container, stream)
            for piece, following in itertools.pairwise(itertools.chain(frames, [None])):
                if piece is not None:
                    yield from self._timeline.place(piece, following)
            if self._timeline.seconds == self._before:
                raise Undecodable(self._loss.reason or NO_SAMPLES)
            self._declared = self._declared_end(container, stream)

    def _begin_time(self, container: "InputContainer") -> None:
        start = (container.start_time or 0) / 1e6
        resets = bool(container.format.flags & _CLOCK_RESETS)
        if start > _LIVE_SECONDS and not resets:
            self._report.warn(f"its time stamps begin at {start:.0f} s, which is taken for 0")
        is_origin = resets or start < _PRIMING_SECONDS or start > _LIVE_SECONDS
        self._zero = max(start, 0.0) if is_origin else 0.0
        self._timeline.begin(resets=resets, has_gaps=self._format in _TIMED)

    def _frames(self, container: "InputContainer", stream: "AudioStream") -> Iterator[TimedFrames]:
        import av

        if stream.codec_context.name == "flac":
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        for packet in self._packets(container):
            self._cover(packet)
            if packet.stream_index != stream.index:
                continue
            if packet.size and self._is_joined(packet):
                return
            try:
                frames = cast("list[AudioFrame]", packet.decode())
            except (av.FFmpegError, OSError) as error:
                self._loss.size += packet.size
                self._loss.reason = self._loss.reason or _reason(error)
                continue
            self._is_cut = packet.is_corrupt
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
            if self._format in _IN_ORDER and self._packet_start >= 0:
                self._loss.size += max(0, packet.pos - self.covered)
            self._packet_start, self.covered = packet.pos, max(self.covered, packet.pos)
        self.covered = self.covered + packet.size

    def _is_joined(self, packet: "Packet[Any]") -> bool:
        """Return whether another file begins in a packet, as in joined MP3s."""
        if self._format not in _BARE or not isinstance(self._content, Splice) or not packet.pos:
            return False
        content = bytes(packet)
        offset = containers.find_container(content)
        if offset is None and self._format == "mp3" and _MP3_HEADER.match(content):
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
        frames = _to_float(self._report.name, frame)
        return TimedFrames(frames, frame.sample_rate, start, size, loss)

    def _declared_end(self, container: "InputContainer", stream: "AudioStream") -> float:
        """Return the end of the audio that the container declares, in seconds, 0 if none."""
        is_mp3 = self._format == "mp3" and self._mp3_declares()
        if self._format not in _DECLARING and not is_mp3:
            return 0.0
        if stream.duration is not None and stream.time_base is not None:
            ticks = (stream.start_time or 0) + stream.duration
            return float(ticks * stream.time_base) - self._zero
        # Matroska declares the end of the whole file; the video may be longer than the audio.
        end = (container.duration or 0) / 1e6
        if len(container.streams) > 1 and end - self._last_time < _PADDING_SECONDS:
            return 0.0
        return end - self._zero

    def _mp3_declares(self) -> bool:
        """Return whether a header in the first frame declares the number of frames."""
        if not isinstance(self._content, Splice):
            return False
        self._content.seek(0)
        tag = self._content.read(10) or b""
        size = 0
        if tag[:3] == b"ID3" and len(tag) == 10:
            # ID3 sizes have seven bits per byte.
            size = 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
        self._content.seek(size)
        first_frame = self._content.read(64) or b""
        return any(name in first_frame for name in _MP3_COUNTS)

    def finish(self, missing: float) -> None:
        """Check that the audio is complete.

        Args:
            missing: Seconds known to be missing behind the end.

        Raises:
            AudioError: it is truncated, and missing audio is not allowed.
        """
        end = self._timeline.seconds
        loss = self._loss
        short = self._declared - (end - self._before)
        has_evidence = bool(loss.size or loss.reason or self._is_cut)
        if missing > TOLERANCE_SECONDS:
            self._report.lose(
                end, end + missing, f"its header declares {end + missing:.2f} s", is_end=True
            )
        elif short > (TOLERANCE_SECONDS if has_evidence else _PADDING_SECONDS):
            why = f"its header declares {end + short:.2f} s"
            self._report.lose(end, end + short, loss.reason or why, is_end=True)
        elif short > TOLERANCE_SECONDS:
            self._report.warn(f"its header declares {end + short:.2f} s, it has {end:.2f} s")
        elif not self._declared and self._timeline.seconds_of(loss.size) > TOLERANCE_SECONDS:
            self._report.warn(f"{loss.size} bytes after {end:.2f} s hold no audio")
        elif not self._declared and has_evidence:
            self._report.warn("it ends within a frame, and may be truncated")


def _check_wav(layout: WavLayout, options: ReadOptions, name: str) -> None:
    """Check the numbers of a WAV header that FFmpeg refuses without a reason.

    Raises:
        AudioError: the sample rate or the number of channels is impossible.
    """
    if not 0 < layout.sample_rate < 2**31:
        raise AudioError(f"{name} declares an impossible sample rate: its header is wrong")
    if not layout.channels:
        raise AudioError(f"{name} declares no channels: its header is wrong")
    check_channels(name, layout.channels, options.limits)


def _check_ogg(source: AudioInput, end: int, timeline: Timeline, report: Report) -> None:
    """Check that a link of an Ogg file ends with a complete last page.

    Raises:
        AudioError: its last page is incomplete, and missing audio is not allowed.
    """
    is_whole, is_last = containers.ogg_last_page(source, end)
    if not is_whole:
        report.cut(timeline.seconds, "its last page is incomplete")
    elif not is_last:
        report.warn("it has no end-of-stream page, and may be truncated")


def _choose(container: "InputContainer", options: ReadOptions, report: Report) -> "AudioStream":
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


def _to_float(name: str, frame: "AudioFrame") -> Float32Array:
    """Return a frame's samples as float32 `[N, channels]`, full scale ±1."""
    try:
        array: npt.NDArray[Any] = frame.to_ndarray()
    except ValueError as error:
        kind = frame.format.name
        raise AudioError(f"{name} has samples of type {kind}: convert it to WAV or FLAC") from error
    samples = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return (samples / full_scale).astype(np.float32)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
