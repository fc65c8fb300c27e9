"""Whatever a caller calls audio, as `Audio`."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from mms_engine.audio import AudioLimits, read_audio
from mms_engine.errors import AudioError
from mms_engine.types import Audio, Float32Array

Source = str | Path | BinaryIO | Audio | Float32Array
"""A file, a stream of a file's bytes, or samples: float32 `[N]` at the bundle's sample rate."""
Sources = (
    tuple[Source, ...] | list[Source] | list[str] | list[Path] | list[Audio] | list[Float32Array]
)


def load(source: Source, sample_rate: int, limits: AudioLimits, *, salvage: bool = False) -> Audio:
    """Return a source's sound at `sample_rate`; of a damaged file what is there, if `salvage`.

    Raises:
        AudioError: it cannot be read, is outside the limits, or has another rate.
    """
    if isinstance(source, np.ndarray):
        return _wrap(source, sample_rate)
    if isinstance(source, Audio):
        audio = source
    else:
        file = Path(source) if isinstance(source, str) else source
        audio = read_audio(file, limits=limits, salvage=salvage)
    if audio.sample_rate != sample_rate:
        raise AudioError(
            f"the audio has {audio.sample_rate} samples per second, the bundle takes "
            f"{sample_rate}: resample it (mms_engine.audio.from_pcm), or pass the file itself"
        )
    return audio


def _wrap(samples: Float32Array, sample_rate: int) -> Audio:
    """Check a caller's own samples."""
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise AudioError(
            f"samples must be float32[N], got {samples.dtype}{list(samples.shape)}: "
            "mix channels down and convert with astype('float32') to a full scale of 1"
        )
    if not np.isfinite(samples).all():
        raise AudioError("the samples hold NaN or infinity: there is no sound to transcribe")
    return Audio(samples, sample_rate)
