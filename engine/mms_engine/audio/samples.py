"""Samples of FFmpeg's frames, of any format, as float32; and float32 as 16 bits."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

if TYPE_CHECKING:
    from av import AudioFrame

_MANY_CHANNELS = 8
"""Channels from which PyAV 18 reads beyond the planes of a planar frame, as in 7.1."""


def to_float(name: str, frame: "AudioFrame") -> Float32Array:
    """Return a frame's samples as float32 `[N, channels]`, full scale ±1.

    Args:
        name: Name of the source, for the error.
        frame: Frame of any sample format.

    Raises:
        AudioError: NumPy has no type for its samples.
    """
    if frame.format.is_planar and frame.layout.nb_channels >= _MANY_CHANNELS:
        frame = _packed(frame)
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


def to_int16(samples: Float32Array) -> npt.NDArray[np.int16]:
    """Return samples with 16 bits each; full scale is ±1, beyond which they are clipped."""
    scaled: Float32Array = np.rint(samples * np.float32(32768))
    return scaled.clip(-32768, 32767).astype(np.int16)


def _packed(frame: "AudioFrame") -> "AudioFrame":
    """Return a frame with its channels interleaved, unchanged otherwise."""
    import av

    resampler = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate)
    return resampler.resample(frame)[0]
