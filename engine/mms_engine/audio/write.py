"""Audio files written by the engine: WAV, FLAC, MP3 and Ogg, whole or in blocks as they come."""

import io
from typing import IO, Any, Self

import numpy as np

from mms_engine.types import AudioFormat, ClipFormat, Float32Array

_CODECS = {"flac": "flac", "wav": "pcm_s16le", "mp3": "libmp3lame", "ogg": "libopus"}
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_BLOCK = 1 << 16
"""Samples that are encoded at once."""


class AudioWriter:
    """Encoder of mono audio in blocks. Use it as a context manager, so that the file is finished.

    WAV and FLAC have 16 bits a sample; Ogg holds Opus, at 48 kHz where it does not have the rate.
    A file that cannot be rewound, such as a pipe, has no duration in its header.
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
        # Whoever reads a pipe gets each block at once.
        self._container = av.open(file, "w", format=file_format, options={"flush_packets": "1"})
        self._stream: Any = self._container.add_stream(
            _CODECS[file_format], rate=rate, layout="mono"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def write(self, samples: Float32Array) -> None:
        """Encode samples `[N]`; full scale is ±1, beyond which they are clipped."""
        import av

        for start in range(0, samples.size, _BLOCK):
            part = samples[start : start + _BLOCK]
            scaled = np.clip(np.rint(part * np.float32(32768)), -32768, 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(scaled[None], format="s16", layout="mono")
            frame.sample_rate = self._rate
            frame.pts = self._samples
            self._samples += part.size
            self._container.mux(self._stream.encode(frame))
        self._file.flush()


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
