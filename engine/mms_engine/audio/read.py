"""Reading of files, byte streams and PCM arrays as mono audio at 16 kHz."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mms_engine.audio import ffmpeg, libsndfile
from mms_engine.audio.block import NO_SAMPLES, Block, Undecodable, no_samples
from mms_engine.audio.collect import collect
from mms_engine.audio.input import AudioInput, open_input
from mms_engine.audio.limits import AudioLimits
from mms_engine.errors import AudioError
from mms_engine.types import Audio

SAMPLE_RATE = 16_000
"""Sample rate of every MMS model, Hz."""

_DEFAULT_LIMITS = AudioLimits()
_BLOCK = 1 << 16


def read_audio(
    source: str | Path | BinaryIO,
    *,
    limits: AudioLimits = _DEFAULT_LIMITS,
    allow_truncated: bool = False,
) -> Audio:
    """Read a file or a stream as mono at 16 kHz.

    The format is detected from the content. Channels are mixed down to their mean; mono files at
    16 kHz are kept bit for bit. Audio longer than ten minutes is kept in a temporary file that is
    deleted with the result.

    Args:
        source: Path, or binary stream that is read from its current position to its end.
        limits: Bounds, enforced during decoding.
        allow_truncated: Whether a truncated or damaged file yields its decodable part instead of
            an error.

    Raises:
        AudioError: it cannot be read completely, or is outside the limits.
    """
    file = Path(source) if isinstance(source, str) else source
    with open_input(file, limits) as opened:
        blocks = _decode(opened, limits, allow_truncated=allow_truncated)
        samples = collect(opened.name, blocks, limits, sample_rate=SAMPLE_RATE)
    return Audio(samples, SAMPLE_RATE)


def _decode(source: AudioInput, limits: AudioLimits, *, allow_truncated: bool) -> Iterator[Block]:
    try:
        yield from libsndfile.decode(source, limits, allow_truncated=allow_truncated)
    except Undecodable as error:
        first = error
    else:
        return
    try:
        yield from ffmpeg.decode(source, limits, allow_truncated=allow_truncated)
    except Undecodable as error:
        if str(first) == str(error) == NO_SAMPLES:
            raise no_samples(source.name) from error
        raise AudioError(
            f"{source.name} is not a readable audio file (libsndfile: {first}; FFmpeg: {error}): "
            "check its type, or convert it to WAV or FLAC"
        ) from error


def from_pcm(
    samples: npt.NDArray[Any], sample_rate: int, *, limits: AudioLimits = _DEFAULT_LIMITS
) -> Audio:
    """Return PCM samples as mono at 16 kHz.

    Args:
        samples: Shape `[N]` or `[N, channels]`: int16, int32, float32 or float64. Integers are
            scaled by their full range, floats have a full scale of ±1.
        sample_rate: Sample rate, Hz.
        limits: Bounds.

    Raises:
        AudioError: it has another type or shape, no samples, NaN or infinity, or an invalid
            sample rate, or is outside the limits.
    """
    if samples.ndim not in (1, 2) or samples.dtype not in _FULL_SCALE or 0 in samples.shape:
        raise AudioError(
            "PCM must be int16, int32, float32 or float64, of shape [N] or [N, channels], and not "
            f"empty, got {samples.dtype}{list(samples.shape)}"
        )
    frames = samples.reshape(len(samples), -1)
    blocks = _slice(frames, sample_rate)
    return Audio(collect("the PCM", blocks, limits, sample_rate=SAMPLE_RATE), SAMPLE_RATE)


_FULL_SCALE = {
    np.dtype(np.int16): 2.0**15,
    np.dtype(np.int32): 2.0**31,
    np.dtype(np.float32): 1.0,
    np.dtype(np.float64): 1.0,
}


def _slice(frames: npt.NDArray[Any], sample_rate: int) -> Iterator[Block]:
    full_scale = _FULL_SCALE[frames.dtype]
    for start in range(0, len(frames), _BLOCK):
        block = frames[start : start + _BLOCK]
        yield Block((block / full_scale).astype(np.float32), sample_rate)
