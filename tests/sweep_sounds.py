"""Files of the sweep: bursts of known onsets in every container and codec, whole and damaged."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

ONSETS = (0.3, 0.75, 1.35, 1.7, 2.4, 2.85, 3.5)
"""Onsets of the bursts in seconds, spaced irregularly so that no shift maps them to each other."""
SECONDS = 4.0
_BURST_SECONDS = 0.1


@dataclass(frozen=True)
class Kind:
    """A container and a codec."""

    name: str
    codec: str
    rate: int = 48_000
    container: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    has_times: bool = False
    """Whether the container stores time stamps, and starts at 0."""
    has_length: bool = True
    """Whether a cut shows: elsewhere a file cut at a packet's border is as good as a whole one."""
    delay: float = 0.0
    """Delay of the encoder that the container does not store, in seconds."""


_NO_TAGS = {"write_xing": "0", "id3v2_version": "0"}
KINDS = (
    Kind("pcm.wav", "pcm_s16le", 16_000),
    Kind("float.wav", "pcm_f32le", 44_100),
    Kind("adpcm.wav", "adpcm_ms", 16_000),
    Kind("mp3.wav", "libmp3lame"),
    Kind("a.w64", "pcm_s16le", 16_000),
    Kind("a.aiff", "pcm_s16be", 16_000),
    Kind("a.au", "pcm_s16be", 16_000),
    Kind("a.caf", "pcm_s16be", 16_000),
    Kind("a.flac", "flac", 16_000),
    Kind("a.tta", "tta", 16_000),
    Kind("a.wv", "wavpack", 16_000),
    Kind("a.ogg", "vorbis", options={"strict": "experimental"}),
    Kind("a.opus", "libopus"),
    Kind("tagged.mp3", "libmp3lame"),
    Kind(
        "bare.mp3",
        "libmp3lame",
        options={"write_xing": "0", "id3v2_version": "0"},
        has_length=False,
    ),
    Kind("a.mp2", "mp2"),
    Kind("a.aac", "aac"),
    Kind("a.ac3", "ac3"),
    Kind("a.eac3", "eac3"),
    Kind("a.amr", "libopencore_amrnb", 8_000),
    Kind("a.g722", "g722", 16_000, has_length=False),
    Kind("a.m4a", "aac", has_times=True),
    Kind("alac.m4a", "alac", has_times=True),
    Kind("fragments.mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
    Kind("a.mov", "pcm_s16le", 16_000),
    Kind("a.3gp", "libopencore_amrnb", 8_000, has_times=True),
    Kind("opus.mka", "libopus", container="matroska", has_times=True),
    Kind("aac.mka", "aac", container="matroska", has_times=True),
    Kind("mp3.mka", "libmp3lame", container="matroska", has_times=True),
    Kind("flac.mka", "flac", container="matroska", has_times=True),
    Kind("a.webm", "libopus", has_times=True),
    Kind("live.webm", "libopus", options={"live": "1"}, has_times=True, has_length=False),
    Kind("a.avi", "ac3"),
    Kind("mp3.avi", "libmp3lame"),
    Kind("a.flv", "aac", 44_100, has_times=True),
    Kind("a.wma", "wmav2", 44_100, container="asf", has_times=True, delay=0.046),
    Kind("a.ts", "aac", container="mpegts"),
    Kind("mp2.ts", "mp2", container="mpegts"),
    Kind("a.mpg", "mp2", container="mpeg"),
    Kind("a.nut", "libmp3lame", has_times=True, has_length=False),
)


def bursts(rate: int) -> np.ndarray:
    """Return noise with bursts of a tone, float32[N]."""
    samples = 0.01 * np.random.default_rng(0).standard_normal(round(SECONDS * rate))
    time = np.arange(round(_BURST_SECONDS * rate)) / rate
    for onset in ONSETS:
        start = round(onset * rate)
        samples[start : start + len(time)] += 0.4 * np.sin(2 * np.pi * 500 * time)
    return samples.astype(np.float32)


def write(path: Path, kind: Kind, move: Callable[[float], float] = lambda time: time) -> Path:
    """Write a file of bursts; `move` maps the times of its packets."""
    with av.open(str(path), "w", format=kind.container, options=kind.options) as output:
        stream = output.add_stream(kind.codec, rate=kind.rate, layout="mono", options=kind.options)
        context = stream.codec_context
        if kind.codec == "vorbis":  # FFmpeg's encoder writes two channels only
            context.layout = "stereo"
        if kind.codec == "wmav2":
            context.bit_rate = 64_000
        context.open()
        frame = av.AudioFrame.from_ndarray(bursts(kind.rate)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = kind.rate, 0
        frame.time_base = Fraction(1, kind.rate)
        resampler = av.AudioResampler(
            format=context.format,
            layout=context.layout,
            rate=kind.rate,
            frame_size=context.frame_size or 1024,
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(piece):
                time = float(packet.pts * packet.time_base)
                shift = round((move(time) - time) / packet.time_base)
                packet.pts += shift
                packet.dts += shift
                output.mux(packet)
    return path


def damage(path: Path) -> bytes:
    """Return a file with noise in place of a packet in the middle; block headers are kept."""
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux() if packet.size and packet.pos is not None]
    packet = packets[len(packets) // 2]
    content = bytearray(path.read_bytes())
    header = next((size for magic, size in _HEADERS.items() if content.startswith(magic)), 0)
    start = packet.pos + header
    size = packet.size - min(header, 16)
    content[start : start + size] = np.random.default_rng(0).bytes(size)
    return bytes(content)


_HEADERS = {b"OggS": 100, b"\x1aE\xdf\xa3": 16, b"FLV": 16}
"""Bytes of a page's or block's header, by the first bytes of the file."""


def onsets(samples: np.ndarray) -> list[float]:
    """Return the onsets of bursts in samples at 16 kHz, in seconds."""
    window = 80
    blocks = samples[: len(samples) // window * window].reshape(-1, window)
    loud = np.flatnonzero(np.sqrt(np.square(blocks).mean(axis=1)) > 0.1) * window / 16_000
    return [float(time) for time in loud[np.diff(loud, prepend=-1.0) > 0.05]]
