"""Reading of files, byte streams and PCM arrays as mono audio at 16 kHz."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from mms_engine.audio.block import NO_SAMPLES, Block, Report, Undecodable, no_samples
from mms_engine.audio.convert import SAMPLE_RATE, collect, convert
from mms_engine.audio.input import open_input, source_name
from mms_engine.audio.limits import AudioLimits, ReadOptions
from mms_engine.errors import AudioError
from mms_engine.types import Audio, Float32Array

_DEFAULT_LIMITS = AudioLimits()
_BLOCK = 1 << 16


def read_audio(
    source: str | Path | BinaryIO,
    *,
    limits: AudioLimits = _DEFAULT_LIMITS,
    allow_truncated: bool = False,
    track: int | None = None,
    channel: int | None = None,
) -> Audio:
    """Read a file or a stream as mono at 16 kHz.

    The format is detected from the content. Times are those of the file: what its time stamps
    leave out is silence. Channels are mixed down to their mean; mono files at 16 kHz are kept bit
    for bit. Audio longer than ten minutes is kept in a temporary file that is deleted with the
    result.

    Args:
        source: Path, or binary stream that is read from its current position to its end.
        limits: Bounds, enforced during decoding.
        allow_truncated: Whether a truncated or damaged file yields its decodable audio, with
            silence in place of what is missing, instead of an error.
        track: Audio track, from 1; `None` for the default one.
        channel: Channel, from 1; `None` for the mean, or for the loudest where channels cancel
            out.

    Raises:
        AudioError: it cannot be read completely, or is outside the limits.
        ValueError: `track` or `channel` is below 1.
    """
    options = ReadOptions(
        limits=limits, allow_truncated=allow_truncated, track=track, channel=channel
    )
    return AudioReader(source, options).read()


class AudioReader:
    """Incremental reading: iteration yields mono samples at 16 kHz as they are decoded."""

    def __init__(
        self, source: str | Path | BinaryIO, options: ReadOptions, *, is_pipe: bool = False
    ) -> None:
        """Prepare to read a source.

        Args:
            source: Path or binary stream.
            options: Limits and choices.
            is_pipe: Whether a stream is decoded as it arrives, without a copy for seeking.
        """
        self._source = Path(source) if isinstance(source, str) else source
        self._options = options
        self._is_pipe = is_pipe
        self.report = Report(source_name(source), allow_missing=options.allow_truncated)
        """Missing spans; complete after the last samples."""

    def read(self) -> Audio:
        """Return all of it; see `read_audio` for the errors."""
        samples, report = collect(self, self.report), self.report
        return Audio(samples, SAMPLE_RATE, tuple(report.missing), report.all_warnings())

    def __iter__(self) -> Iterator[Float32Array]:
        """Yield arrays of shape `[N]`; see `read_audio` for the errors."""
        return convert(self._blocks(), self._options, self.report)

    def _blocks(self) -> Iterator[Block]:
        from mms_engine.audio.links import decode, decode_pipe

        try:
            if self._is_pipe:
                pipe = cast("BinaryIO", self._source)
                yield from decode_pipe(pipe, self._options, self.report)
                return
            with open_input(self._source, self._options.limits) as opened:
                yield from decode(opened, self._options, self.report)
        except Undecodable as error:
            if str(error) == NO_SAMPLES:
                raise no_samples(self.report.name) from error
            if self._is_pipe:
                raise AudioError(
                    f"{self.report.name} holds a container that cannot be read from a pipe "
                    f"(FFmpeg: {error}): name the file instead, or convert it to WAV or FLAC"
                ) from error
            raise AudioError(
                f"{self.report.name} is not a readable audio file (FFmpeg: {error}): check its "
                "type, or convert it to WAV or FLAC"
            ) from error


def from_pcm(
    samples: npt.NDArray[Any],
    sample_rate: int,
    *,
    limits: AudioLimits = _DEFAULT_LIMITS,
    channel: int | None = None,
) -> Audio:
    """Return PCM samples as mono at 16 kHz.

    Args:
        samples: Shape `[N]` or `[N, channels]`: int16, int32, float32 or float64. Integers are
            scaled by their full range, floats have a full scale of ±1.
        sample_rate: Sample rate, Hz.
        limits: Bounds.
        channel: Channel, from 1; see `read_audio`.

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
    report = Report("the PCM", allow_missing=False)
    options = ReadOptions(limits=limits, channel=channel)
    mono = collect(convert(_slice(frames, sample_rate), options, report), report)
    return Audio(mono, SAMPLE_RATE, warnings=report.all_warnings())


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
