"""Read a sound, wherever it comes from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mms_engine.audio import ffmpeg, libsndfile
from mms_engine.audio.block import NO_SAMPLES, Block, Undecodable, nothing
from mms_engine.audio.collect import collect
from mms_engine.audio.input import Source, open_source
from mms_engine.audio.limits import AudioLimits
from mms_engine.errors import AudioError
from mms_engine.types import Audio

SAMPLE_RATE = 16_000
"""What every MMS model hears, Hz."""

_DEFAULT_LIMITS = AudioLimits()
_BLOCK = 1 << 16


def read_audio(
    source: str | Path | BinaryIO,
    *,
    limits: AudioLimits = _DEFAULT_LIMITS,
    allow_truncated: bool = False,
) -> Audio:
    """Read a file or a stream as mono at 16 kHz.

    The format is told from the content. Channels are mixed down to their mean; mono files at
    16 kHz come through bit for bit. A sound beyond ten minutes is kept in a temporary file that
    vanishes with the result.

    Args:
        source: A path, or a binary stream that is read from where it stands to its end.
        limits: What to refuse; enforced while decoding.
        allow_truncated: Whether a truncated or damaged file yields its decodable part instead of
            an error.

    Raises:
        AudioError: the sound cannot be read whole or is beyond the limits.
    """
    file = Path(source) if isinstance(source, str) else source
    with open_source(file, limits) as opened:
        blocks = _decode(opened, limits, allow_truncated=allow_truncated)
        samples = collect(opened.name, blocks, limits, sample_rate=SAMPLE_RATE)
    return Audio(samples, SAMPLE_RATE)


def _decode(source: Source, limits: AudioLimits, *, allow_truncated: bool) -> Iterator[Block]:
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
            raise nothing(source.name) from error
        raise AudioError(
            f"{source.name} is not a sound file that can be read (libsndfile: {first}; FFmpeg: "
            f"{error}): check that it is what its name says, or convert it to WAV or FLAC"
        ) from error


def from_pcm(
    samples: npt.NDArray[Any], sample_rate: int, *, limits: AudioLimits = _DEFAULT_LIMITS
) -> Audio:
    """Return PCM samples as mono at 16 kHz.

    Args:
        samples: Shape `[N]` or `[N, channels]`: int16, int32, float32 or float64. Integers are
            scaled by their full range, floats have a full scale of ±1.
        sample_rate: Hz.
        limits: What to refuse.

    Raises:
        AudioError: another type or shape, no samples, NaN or infinity, an impossible rate, or
            beyond the limits.
    """
    if samples.ndim not in (1, 2) or samples.dtype not in _FULL_SCALE or 0 in samples.shape:
        raise AudioError(
            "PCM must be int16, int32, float32 or float64, [N] or [N, channels] and not empty, "
            f"got {samples.dtype}{list(samples.shape)}"
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
