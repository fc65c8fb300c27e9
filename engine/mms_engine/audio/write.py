"""Audio files written by the engine: WAV, FLAC, MP3, AAC and Ogg, whole or as blocks come."""

import io
from collections.abc import Iterable
from typing import IO, Any, Self

from mms_engine.audio.convert import Resampler
from mms_engine.audio.samples import to_int16
from mms_engine.types import AudioFormat, ClipFormat, Float32Array

_CODECS = {
    "flac": ("flac", "flac"),
    "wav": ("wav", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "ogg": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
}
"""Container and codec of each format."""
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_BLOCK = 1 << 16
"""Samples that are encoded at once."""
_PAGE_MICROSECONDS = "20000"
"""Audio of a page of Ogg that is not written to a file: a packet of Opus, in place of a second."""


class AudioWriter:
    """Encoder of mono audio in blocks. Use it as a context manager, so that the file is finished.

    WAV and FLAC have 16 bits a sample; Ogg holds Opus, at 48 kHz where it does not have the rate;
    AAC is in ADTS. A file that cannot be rewound, such as a pipe, has no duration in its header.
    """

    def __init__(self, file: IO[bytes], sample_rate: int, file_format: AudioFormat) -> None:
        """Open an encoder.

        Args:
            file: Binary file, which is not closed.
            sample_rate: Samples per second.
            file_format: Container and codec.
        """
        import av

        rate = sample_rate
        if file_format == "ogg" and rate not in _OPUS_RATES:
            rate = _OPUS_RATES[-1]
        self._rate = sample_rate
        self._samples = 0
        self._file = file
        container, codec = _CODECS[file_format]
        # Whoever reads a pipe gets each block at once.
        options = {"flush_packets": "1"}
        if file_format == "ogg" and not file.seekable():
            options["page_duration"] = _PAGE_MICROSECONDS
        self._container = av.open(file, "w", format=container, options=options)
        self._stream: Any = self._container.add_stream(codec, rate=rate, layout="mono")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self.finish()

    def write(self, samples: Float32Array) -> None:
        """Encode samples `[N]`; full scale is ±1, beyond which they are clipped."""
        import av

        for start in range(0, samples.size, _BLOCK):
            part = samples[start : start + _BLOCK]
            frame = av.AudioFrame.from_ndarray(to_int16(part)[None], format="s16", layout="mono")
            frame.sample_rate = self._rate
            frame.pts = self._samples
            self._samples += part.size
            self._container.mux(self._stream.encode(frame))
        self._file.flush()

    def finish(self) -> None:
        """Write the end of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


class AudioEncoder:
    """Encoder of mono audio, whose bytes are taken as the codec gives them."""

    def __init__(self, sample_rate: int, file_format: AudioFormat) -> None:
        """Open an encoder; see `AudioWriter`."""
        self._sink = _Sink()
        self._writer = AudioWriter(self._sink, sample_rate, file_format)

    def encode(self, samples: Float32Array) -> bytes:
        """Return the bytes that are ready after samples `[N]`."""
        self._writer.write(samples)
        return self._sink.take()

    def finish(self) -> bytes:
        """Return the last bytes."""
        self._writer.finish()
        return self._sink.take()


class PcmEncoder:
    """Encoder of 16-bit little-endian samples at another rate."""

    def __init__(self, sample_rate: int, target: int) -> None:
        """Begin; both rates are in Hz."""
        self._rate = sample_rate
        self._resampler = Resampler(target)

    def encode(self, samples: Float32Array) -> bytes:
        """Return the bytes that are ready after samples `[N]`."""
        return _pcm(self._resampler.resample(samples, self._rate))

    def finish(self) -> bytes:
        """Return the last bytes."""
        return _pcm(self._resampler.flush())


class _Sink(io.BytesIO):
    """File that cannot be rewound, of which only what is new is kept."""

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        taken = self.getvalue()
        self.seek(0)
        self.truncate()
        return taken


def _pcm(pieces: Iterable[Float32Array]) -> bytes:
    return b"".join(to_int16(piece).astype("<i2").tobytes() for piece in pieces)


def encode_audio(samples: Float32Array, sample_rate: int, file_format: ClipFormat) -> bytes:
    """Return mono audio as the bytes of a 16-bit file.

    Audio that was decoded from 16-bit samples at this rate keeps them exactly.

    Args:
        samples: Shape `[N]`; full scale is ±1, beyond which samples are clipped.
        sample_rate: Samples per second.
        file_format: Container and codec.
    """
    buffer = io.BytesIO()
    with AudioWriter(buffer, sample_rate, file_format) as writer:
        writer.write(samples)
    return buffer.getvalue()
