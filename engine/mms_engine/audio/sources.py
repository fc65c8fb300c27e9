"""Audio sources of the public API: files, byte streams and sample arrays."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.read import AudioReader, from_pcm
from mms_engine.errors import AudioError
from mms_engine.types import Audio, Float32Array, Span

AudioSource = str | Path | BinaryIO | Audio | npt.NDArray[Any]
"""A file, a binary stream of a file's content, an `Audio`, or PCM samples `[N]` or `[N, C]`."""

_PIECE = 1 << 20


def is_source(value: object) -> bool:
    """Return whether a value is one audio source rather than an iterable of them."""
    return isinstance(value, str | os.PathLike | Audio | np.ndarray) or hasattr(value, "read")


def load(
    source: AudioSource,
    sample_rate: int,
    *,
    array_rate: int | None = None,
    options: ReadOptions,
) -> Audio:
    """Return the audio of a source, mono at `sample_rate`.

    Args:
        source: The source.
        sample_rate: Sample rate of the bundle, Hz.
        array_rate: Sample rate of an array, Hz; `None` for `sample_rate`.
        options: Limits and choices.

    Raises:
        AudioError: it cannot be read, or is outside the limits.
    """
    if isinstance(source, np.ndarray):
        return _from_samples(source, array_rate or sample_rate, sample_rate, options)
    if isinstance(source, Audio):
        audio = _from_samples(source.samples, source.sample_rate, sample_rate, options)
        return replace(audio, missing=source.missing, warnings=source.warnings)
    if not is_source(source):
        raise AudioError(
            f"audio must be a path, a binary stream, an Audio or an array, got "
            f"{type(source).__name__}"
        )
    return AudioReader(source, options).read()


class Recording:
    """Samples of a source, iterable any number of times without being held in memory.

    A file is decoded anew each time. What can be read only once is read at the first use, as by
    `load`.
    """

    def __init__(
        self,
        source: AudioSource,
        sample_rate: int,
        *,
        array_rate: int | None = None,
        options: ReadOptions,
    ) -> None:
        """Prepare to read a source; see `load` for the arguments and errors."""
        self.seconds = 0.0
        """Duration; known after the last samples."""
        self.missing: tuple[Span, ...] = ()
        """See `Audio.missing`; complete after the last samples."""
        self.warnings: tuple[str, ...] = ()
        """See `Audio.warnings`; complete after the last samples."""
        self._sample_rate = sample_rate
        self._options = options
        self._source: Path | Audio
        if isinstance(source, str | os.PathLike) and Path(source).is_file():
            self._source = Path(source)
        else:
            self._source = load(source, sample_rate, array_rate=array_rate, options=options)

    def __iter__(self) -> Iterator[Float32Array]:
        """Yield mono arrays of shape `[N]` at the sample rate of the bundle."""
        if isinstance(self._source, Audio):
            audio = self._source
            for start in range(0, audio.samples.size, _PIECE):
                yield audio.samples[start : start + _PIECE]
            self.missing, self.warnings, self.seconds = audio.missing, audio.warnings, audio.seconds
            return
        reader = AudioReader(self._source, self._options)
        count = 0
        for samples in reader:
            count += samples.size
            yield samples
        self.seconds = count / self._sample_rate
        self.missing = tuple(reader.report.missing)
        self.warnings = reader.report.all_warnings()


def _from_samples(samples: npt.NDArray[Any], rate: int, wanted: int, options: ReadOptions) -> Audio:
    limits = options.limits
    is_ready = samples.ndim == 1 and samples.dtype == np.float32 and rate == wanted
    if not is_ready:
        return from_pcm(samples, rate, limits=limits, channel=options.channel)
    seconds = samples.size / rate
    if seconds > limits.max_seconds:
        raise AudioError(
            f"the array has {seconds:.1f} s of audio, the limit is {limits.max_seconds:g} s: split "
            "it, or raise AudioLimits.max_seconds"
        )
    if not np.isfinite(samples).all():
        raise AudioError("the samples contain NaN or infinity")
    return Audio(samples, rate)
