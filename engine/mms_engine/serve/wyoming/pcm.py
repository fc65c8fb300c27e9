"""Samples of Wyoming's audio: integers of 8, 16 or 32 bits, of any rate and number of channels."""

import numpy as np

from mms_engine.asr.streaming.options import SAMPLE_RATES
from mms_engine.serve.errors import ApiError
from mms_engine.types import Float32Array

MAX_CHANNELS = 32
_DTYPES = {1: "u1", 2: "<i2", 4: "<i4"}


class ChunkReader:
    """Reader of the chunks of one utterance, which may be cut inside a frame."""

    def __init__(self) -> None:
        self._format = (0, 0, 0)
        self._rest = b""

    def read(self, rate: int, width: int, channels: int, payload: bytes) -> Float32Array:
        """Return the whole frames of a chunk, mixed down to their mean, `[N]` at `rate`.

        Integers of 8 bits are unsigned, as in WAV and the `wyoming` package's own converter.

        Raises:
            ApiError: 400; the format is not supported, or changes inside a frame.
        """
        if (rate, width, channels) != self._format:
            check_format(rate, width, channels)
            if self._rest:
                message = f"the format changes after {len(self._rest)} bytes of a frame"
                raise ApiError(400, message, code="invalid_audio")
            self._format = (rate, width, channels)
        content = self._rest + payload
        whole = len(content) - len(content) % (width * channels)
        self._rest = content[whole:]
        samples = np.frombuffer(content[:whole], _DTYPES[width]).astype(np.float64)
        if width == 1:
            samples -= 128
        # Products with a power of two: 16 bits give the samples of the library's own reader.
        scaled = samples * 2.0 ** (1 - 8 * width)
        mono: Float32Array = scaled.reshape(-1, channels).mean(axis=1).astype(np.float32)
        return mono


def check_format(rate: int, width: int, channels: int) -> None:
    """Check a format of audio.

    Raises:
        ApiError: 400; it is not supported.
    """
    if rate not in SAMPLE_RATES:
        message = f"rate is {rate} Hz, must be {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]}"
    elif width not in _DTYPES:
        message = f"width is {width} bytes, must be 1, 2 or 4"
    elif not 1 <= channels <= MAX_CHANNELS:
        message = f"channels is {channels}, must be 1 to {MAX_CHANNELS}"
    else:
        return
    raise ApiError(400, message, code="invalid_audio")
