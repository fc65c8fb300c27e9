"""Conversion of blocks of any rate and channel count to mono samples, in bounded memory."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from mms_engine.audio.block import Block, Report, check_channels, no_samples
from mms_engine.audio.channels import Downmix
from mms_engine.audio.input import no_space
from mms_engine.audio.limits import AudioLimits, ReadOptions
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

if TYPE_CHECKING:
    import soxr

SAMPLE_RATE = 16_000
"""Sample rate of every MMS model, Hz."""
SPOOL_SECONDS = 600
"""Duration above which samples are kept in a temporary file instead of memory."""
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000


def collect(
    pieces: Iterable[Float32Array], report: Report, sample_rate: int = SAMPLE_RATE
) -> Float32Array:
    """Concatenate samples.

    Args:
        pieces: Arrays of shape `[N]`.
        report: Report of the read.
        sample_rate: Their sample rate, Hz.

    Returns:
        Shape `[N]`, at least one sample; a read-only memory map above `SPOOL_SECONDS`.

    Raises:
        AudioError: there are no samples, or no space for them.
    """
    with _Spool(report.name, SPOOL_SECONDS * sample_rate) as spool:
        for piece in pieces:
            spool.write(piece)
        if spool.size == 0:
            raise no_samples(report.name)
        return spool.read()


def convert(
    blocks: Iterable[Block], options: ReadOptions, report: Report, sample_rate: int = SAMPLE_RATE
) -> Iterator[Float32Array]:
    """Yield the samples of blocks, mixed down and resampled.

    Args:
        blocks: Consecutive blocks; their sample rate and number of channels may change.
        options: Limits, checked with each block, and the channel.
        report: Report of the read.
        sample_rate: Sample rate of the result, Hz.

    Yields:
        Arrays of shape `[N]`.

    Raises:
        AudioError: it is outside the limits, contains NaN or infinity, or has an invalid sample
            rate.
    """
    mixer = Downmix(options.channel, report)
    resampler = Resampler(sample_rate)
    seconds, count, first = 0.0, 0, np.zeros(0, np.float32)
    for block in mixer.mix(_checked(blocks, options.limits, report.name)):
        mono = block.frames[:, 0]
        finite = np.isfinite(mono)
        if not finite.all():
            bad = np.flatnonzero(~finite) / block.sample_rate + seconds
            if not options.allow_truncated:
                raise AudioError(
                    f"{report.name} contains NaN or infinity at {bad[0]:.4f} s: the program that "
                    "wrote it is faulty, create the file again"
                )
            report.lose(float(bad[0]), float(bad[-1]) + 1 / block.sample_rate, "NaN or infinity")
            mono = np.where(finite, mono, np.float32(0))
        seconds += len(mono) / block.sample_rate
        first = first if len(first) else mono[:1]
        for piece in resampler.resample(mono, block.sample_rate):
            count += len(piece)
            yield piece
    for piece in resampler.flush():
        count += len(piece)
        yield piece
    if not count:
        # The resampler rounds audio of less than half a sample to none.
        yield first


def _checked(blocks: Iterable[Block], limits: AudioLimits, name: str) -> Iterator[Block]:
    seconds = 0.0
    for block in blocks:
        if not _LOWEST_RATE <= block.sample_rate <= _HIGHEST_RATE:
            raise AudioError(
                f"{name} declares a sample rate of {block.sample_rate} Hz, valid are "
                f"{_LOWEST_RATE} to {_HIGHEST_RATE}: its header is wrong, repair or convert the "
                "file"
            )
        check_channels(name, block.frames.shape[1], limits)
        seconds += len(block.frames) / block.sample_rate
        if seconds > limits.max_seconds + 1e-6:
            raise AudioError(
                f"{name} is longer than {limits.max_seconds:g} s, the limit: split it, or raise "
                "the limit (AudioLimits.max_seconds, --max-seconds)"
            )
        yield block


class Resampler:
    """Resampler whose input may change its sample rate; each change begins a new filter."""

    def __init__(self, sample_rate: int) -> None:
        self._target = sample_rate
        self._rate = sample_rate
        self._stream: soxr.ResampleStream | None = None

    def resample(self, mono: Float32Array, rate: int) -> Iterator[Float32Array]:
        """Yield the samples that are ready."""
        if rate != self._rate:
            yield from self.flush()
            self._rate = rate
            self._stream = open_resampler(rate, self._target) if rate != self._target else None
        yield mono if self._stream is None else self._stream.resample_chunk(mono)

    def flush(self) -> Iterator[Float32Array]:
        """Yield the last samples of the current rate."""
        if self._stream is not None:
            yield self._stream.resample_chunk(np.zeros(0, np.float32), last=True)


def open_resampler(rate: int, target: int) -> "soxr.ResampleStream":
    """Return a resampler of float32 blocks of one channel between two rates, in Hz."""
    import soxr  # slow to import, and not needed at the target rate

    return soxr.ResampleStream(rate, target, 1, dtype="float32", quality="HQ")


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
            with contextlib.suppress(OSError):  # after a failed write
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
