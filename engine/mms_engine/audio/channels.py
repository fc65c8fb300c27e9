"""Mix-down to one channel, with detection of channels that cancel out."""

from collections.abc import Iterable, Iterator

import numpy as np

from mms_engine.audio.block import Block, Report
from mms_engine.types import Float32Array

_WINDOW_SECONDS = 1.0
_WINDOW_VALUES = 1 << 22
"""Largest window, in samples of all channels."""
_CANCELLED = 0.2
"""Power of the mean below which channels cancel out, relative to that of independent channels."""
_SILENCE = 1e-9
"""Power below which nothing is decided; that of full scale is 1."""


class Downmix:
    """Mean of the channels, or one of them.

    Channels of opposite phase cancel out in the mean: a second in which it loses 10 dB against
    independent channels takes the loudest channel instead.
    """

    def __init__(self, channel: int | None, report: Report) -> None:
        self._channel = channel
        self._report = report
        self._loudest: int | None = None
        self._seconds = 0.0
        self._window: list[Float32Array] = []

    def mix(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield blocks of one channel; a single channel is kept bit for bit."""
        rate = 0
        for block in blocks:
            frames = block.frames
            if self._window and (block.sample_rate, frames.shape[1]) != (rate, self._channels()):
                yield self._mixed(rate)
            rate = block.sample_rate
            if frames.shape[1] == 1 or self._channel is not None:
                chosen = min(self._channel or 1, frames.shape[1]) - 1
                self._seconds += len(frames) / rate
                yield Block(np.ascontiguousarray(frames[:, chosen : chosen + 1]), rate)
                continue
            self._window.append(frames)
            size = sum(len(part) for part in self._window)
            if size >= min(rate * _WINDOW_SECONDS, _WINDOW_VALUES // frames.shape[1]):
                yield self._mixed(rate)
        if self._window:
            yield self._mixed(rate)

    def _channels(self) -> int:
        return int(self._window[0].shape[1])

    def _mixed(self, rate: int) -> Block:
        frames = np.concatenate(self._window)
        self._window.clear()
        mean = _mean(frames)
        with np.errstate(invalid="ignore"):  # NaN and infinity are reported when they are converted
            powers = np.var(frames, axis=0, dtype=np.float64)
            left = float(np.var(mean, dtype=np.float64)) * frames.shape[1]
        if float(powers.mean()) > _SILENCE and left < _CANCELLED * float(powers.mean()):
            if self._loudest is None:
                self._loudest = int(powers.argmax())
                self._report.warn(
                    f"its channels cancel out from {self._seconds:.0f} s (opposite phase): channel "
                    f"{self._loudest + 1} is read there; choose one with --channel"
                )
            mean = frames[:, min(self._loudest, frames.shape[1] - 1)]
        self._seconds += len(frames) / rate
        return Block(np.ascontiguousarray(mean)[:, None], rate)


def _mean(frames: Float32Array) -> Float32Array:
    total = frames[:, 0].astype(np.float64)
    for channel in range(1, frames.shape[1]):
        total += frames[:, channel]
    total /= frames.shape[1]
    mean: Float32Array = total.astype(np.float32)
    return mean
