"""PCM input: pieces of any size to mono float32 at the bundle's sample rate."""

from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.audio.convert import open_resampler
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array, SampleFormat

Pcm = bytes | bytearray | memoryview | npt.NDArray[Any]
_WIDTH: dict[SampleFormat, int] = {"f32le": 4, "s16le": 2, "mulaw": 1, "alaw": 1}
_REPLAYED_SECONDS = 0.5
_NOTHING = np.zeros(0, np.float32)


def _mulaw_table() -> Float32Array:
    """Return the value of each µ-law byte, float32 `[256]` (ITU-T G.711, scaled by 2**15)."""
    code = ~np.arange(256, dtype=np.uint8)
    magnitude = ((((code & 0x0F) << 3).astype(np.int32) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float32) / np.float32(2**15)


def _alaw_table() -> Float32Array:
    """Return the value of each A-law byte, float32 `[256]` (ITU-T G.711, scaled by 2**15)."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = ((code >> 4) & 7).astype(np.int32)
    magnitude = ((code & 0x0F).astype(np.int32) << 4) + 8
    magnitude = np.where(
        exponent > 0, (magnitude + 0x100) << np.maximum(exponent - 1, 0), magnitude
    )
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.float32) / np.float32(2**15)


_TABLES: dict[SampleFormat, Float32Array] = {"mulaw": _mulaw_table(), "alaw": _alaw_table()}


class PcmReader:
    """Converter of bytes, cut anywhere, and arrays to float32 samples."""

    def __init__(self, sample_format: SampleFormat) -> None:
        self._format = sample_format
        self.rest = b""
        """Leading bytes of an incomplete sample."""

    def read(self, pcm: Pcm) -> Float32Array:
        """Return the complete samples, float32 `[N]`.

        Raises:
            AudioError: wrong shape or dtype, NaN or infinity; nothing is consumed.
        """
        if isinstance(pcm, np.ndarray):
            if self.rest:
                raise AudioError(
                    f"an array follows {len(self.rest)} bytes of an incomplete sample: feed the "
                    "rest of the sample as bytes first"
                )
            return _from_array(pcm)
        content = self.rest + bytes(pcm)
        whole = len(content) - len(content) % _WIDTH[self._format]
        samples = _decode(content[:whole], self._format)
        self.rest = content[whole:]
        return samples


def _decode(content: bytes, sample_format: SampleFormat) -> Float32Array:
    if sample_format in _TABLES:
        return _TABLES[sample_format][np.frombuffer(content, np.uint8)]
    if sample_format == "s16le":
        return _from_array(np.frombuffer(content, "<i2"))
    return _from_array(np.frombuffer(content, "<f4"))


def _from_array(samples: npt.NDArray[Any]) -> Float32Array:
    if samples.ndim != 1 or samples.dtype not in (np.float32, np.int16):
        raise AudioError(
            f"a stream takes float32[N] or int16[N], got {samples.dtype}{list(samples.shape)}: "
            "mix channels down and convert first"
        )
    if samples.dtype == np.int16:
        return samples * np.float32(2**-15)
    return _finite(samples.astype(np.float32))


def _finite(samples: Float32Array) -> Float32Array:
    finite = np.isfinite(samples)
    if not finite.all():
        raise AudioError(
            f"the audio holds NaN or infinity, first at sample {int(finite.argmin())} of this "
            "piece, which was dropped: feed it again corrected, or continue with the next piece"
        )
    return samples


class Resampler:
    """Resampler whose state can be saved and restored.

    The library's own state is opaque, so the last half second of input is kept: a new resampler
    that reads it, from a position where samples of both rates coincide, continues exactly.
    """

    def __init__(self, rate: int, target: int) -> None:
        self.rate = rate
        self._target = target
        # Samples of both rates coincide at multiples of this many input samples.
        self._period = rate // gcd(rate, target)
        self._consumed = 0
        self._produced = 0
        self._recent = _NOTHING
        self._repeated = 0
        self._ahead = _NOTHING
        self._stream = None if rate == target else open_resampler(rate, target)

    def convert(self, samples: Float32Array, *, last: bool = False) -> Float32Array:
        """Return the output for `[N]` more samples, perhaps none, at the target rate."""
        if self._stream is None:
            return samples
        self._consumed += len(samples)
        result = self._without_repeated(self._stream.resample_chunk(samples, last=last))
        if len(self._ahead):
            result, self._ahead = np.concatenate([self._ahead, result]), _NOTHING
        self._produced += len(result)
        self._keep(samples)
        return result

    def _keep(self, samples: Float32Array) -> None:
        self._recent = np.concatenate([self._recent, samples])
        begin = self._consumed - len(self._recent)
        # Relative to the output, which may lag far behind: it comes in blocks.
        given = min(self._consumed, self._produced * self.rate // self._target)
        wanted = max(0, given - round(_REPLAYED_SECONDS * self.rate))
        wanted -= wanted % self._period
        self._recent = self._recent[wanted - begin :].copy() if wanted > begin else self._recent

    def state(self) -> dict[str, Any]:
        """Return the state that `restored` takes."""
        return {
            "rate": self.rate,
            "consumed": self._consumed,
            "produced": self._produced,
            "recent": self._recent,
        }

    @classmethod
    def restored(cls, state: dict[str, Any], target: int) -> "Resampler":
        """Return a resampler in a saved state."""
        made = cls(state["rate"], target)
        if made._stream is None:
            return made
        made._consumed, made._recent = state["consumed"], state["recent"]
        # Its output comes in blocks, so it may be ahead of or behind the saved position.
        begin = (made._consumed - len(made._recent)) * target // made.rate
        made._produced = state["produced"]
        made._repeated = state["produced"] - begin
        made._ahead = made._without_repeated(made._stream.resample_chunk(made._recent))
        return made

    def _without_repeated(self, result: Float32Array) -> Float32Array:
        """Drop output that was returned before the state was saved."""
        count = min(self._repeated, len(result))
        self._repeated -= count
        return result[count:]
