"""Audio files written by the engine: 16-bit FLAC and WAV."""

import io
from typing import Any

import numpy as np

from mms_engine.types import ClipFormat, Float32Array

_CODECS = {"flac": "flac", "wav": "pcm_s16le"}


def encode_audio(samples: Float32Array, sample_rate: int, file_format: ClipFormat) -> bytes:
    """Return mono audio as the bytes of a 16-bit file.

    Audio that was decoded from 16-bit samples at this rate keeps them exactly.

    Args:
        samples: Shape `[N]`; full scale is ±1, beyond which samples are clipped.
        sample_rate: Samples per second.
        file_format: Container and codec.
    """
    import av

    scaled = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=file_format) as container:
        stream: Any = container.add_stream(_CODECS[file_format], rate=sample_rate, layout="mono")
        if scaled.size:
            frame = av.AudioFrame.from_ndarray(scaled[None], format="s16", layout="mono")
            frame.sample_rate = sample_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
