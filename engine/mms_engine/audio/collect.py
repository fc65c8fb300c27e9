"""Conversion of blocks of any rate and channel count to mono audio, in bounded memory."""

import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from mms_engine.audio.block import Block, check_channels, no_samples
from mms_engine.audio.input import no_space
from mms_engine.audio.limits import AudioLimits
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

if TYPE_CHECKING:
    import soxr

SPOOL_SECONDS = 600
"""Duration above which samples are kept in a temporary file instead of memory."""
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000


def collect(
    name: str, blocks: Iterator[Block], limits: AudioLimits, *, sample_rate: int
) -> Float32Array:
    """Mix down, resample and concatenate blocks.

    Args:
        name: Name of the audio, for messages.
        blocks: Consecutive blocks, all of one sample rate.
        limits: Bounds, checked after each block.
        sample_rate: Sample rate of the result, Hz.

    Returns:
        Shape `[N]`, at least one sample; a read-only memory map above `SPOOL_SECONDS`.

    Raises:
        AudioError: it is outside the limits, has no samples, contains NaN or infinity, or has an
            invalid sample rate.
    """
    converter: _Converter | None = None
    with _Spool(name, SPOOL_SECONDS * sample_rate) as spool:
        for block in blocks:
            if converter is None:
                converter = _Converter(name, block.sample_rate, sample_rate, limits)
            spool.write(converter.convert(block))
        if converter is not None:
            spool.write(converter.flush())
        if spool.size == 0:
            raise no_samples(name)
        return spool.read()


class _Converter:
    """Mix-down, checks and resampling, block by block."""

    def __init__(self, name: str, rate: int, target: int, limits: AudioLimits) -> None:
        if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            raise AudioError(
                f"{name} declares a sample rate of {rate} Hz, valid are {_LOWEST_RATE} to "
                f"{_HIGHEST_RATE}: its header is wrong, repair or convert the file"
            )
        self._name = name
        self._rate = rate
        self._limits = limits
        self._frames = 0
        self._resampler = open_resampler(rate, target) if rate != target else None

    def convert(self, block: Block) -> Float32Array:
        if block.sample_rate != self._rate:
            raise AudioError(
                f"{self._name} changes its sample rate from {self._rate} to {block.sample_rate} "
                f"Hz after {self._seconds():.2f} s: split it there"
            )
        check_channels(self._name, block.frames.shape[1], self._limits)
        mono = _mix_down(block.frames)
        finite = np.isfinite(mono)
        if not finite.all():
            self._frames += int(finite.argmin())
            raise AudioError(
                f"{self._name} contains NaN or infinity at {self._seconds():.4f} s: the program "
                "that wrote it is faulty, create the file again"
            )
        self._frames += len(mono)
        if self._seconds() > self._limits.max_seconds:
            raise AudioError(
                f"{self._name} is longer than {self._limits.max_seconds:g} s, the limit: split "
                "it, or raise the limit (AudioLimits.max_seconds, --max-seconds)"
            )
        return self._resample(mono, last=False)

    def flush(self) -> Float32Array:
        return self._resample(np.zeros(0, np.float32), last=True)

    def _resample(self, mono: Float32Array, *, last: bool) -> Float32Array:
        if self._resampler is None:
            return mono
        resampled: Float32Array = self._resampler.resample_chunk(mono, last=last)
        return resampled

    def _seconds(self) -> float:
        return self._frames / self._rate


def open_resampler(rate: int, target: int) -> "soxr.ResampleStream":
    """Return a resampler of float32 blocks of one channel between two rates, in Hz."""
    import soxr  # slow to import, and not needed at the target rate

    return soxr.ResampleStream(rate, target, 1, dtype="float32", quality="HQ")


def _mix_down(frames: Float32Array) -> Float32Array:
    """Return the mean of the channels; a single channel is kept bit for bit."""
    channels = frames.shape[1]
    if channels == 1:
        return np.ascontiguousarray(frames[:, 0])
    total = frames[:, 0].astype(np.float64)
    for channel in range(1, channels):
        total += frames[:, channel]
    total /= channels
    mean: Float32Array = total.astype(np.float32)
    return mean


class _Spool:
    """Samples in memory, or in an unnamed file above a size."""

    def __init__(self, name: str, in_memory: int) -> None:
        self.size = 0
        self._name = name
        self._in_memory = in_memory
        self._pieces: list[Float32Array] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, samples: Float32Array) -> None:
        self.size += len(samples)
        self._pieces.append(samples)
        if self._file is not None or self.size > self._in_memory:
            self._empty_memory()

    def _empty_memory(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
            for piece in self._pieces:
                self._file.write(piece.data)
            self._file.flush()
        except OSError as error:
            raise no_space(self._name, error) from error
        self._pieces.clear()

    def read(self) -> Float32Array:
        if self._file is None:
            return np.concatenate(self._pieces)
        # The map outlives the file object; the disk space is freed with the map.
        return np.memmap(self._file, np.float32, mode="r", shape=(self.size,))
