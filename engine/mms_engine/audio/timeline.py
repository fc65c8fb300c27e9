"""Placement of decoded audio in the time of its file."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mms_engine.audio.block import Block, Report
from mms_engine.types import Float32Array

_TOLERANCE = 0.03
"""Deviation of a time stamp that is rounding, or a codec's delay, in seconds."""
_OVERLAP = 0.2
"""Deviation backwards that is a reset of the clock, in seconds."""
_JUMP = 1.0
"""Deviation that a second frame must confirm, in seconds."""
_RESET = 10.0
"""Jump forward that is a reset of the clock, in formats whose clock may be reset, in seconds."""

_LOST_PART = 0.3
"""Least part of a gap's bytes, at the mean rate, that shows it to be damage rather than a pause."""


@dataclass(slots=True)
class Loss:
    """Bytes without audio since the last decoded frame."""

    size: int = 0
    """Bytes of packets that could not be decoded, and bytes between packets."""
    reason: str = ""
    """Error of a packet; empty if none failed."""


@dataclass(frozen=True, slots=True, eq=False)
class TimedFrames:
    """Decoded frames with their time stamp."""

    frames: Float32Array
    """Shape `[N, channels]`."""
    sample_rate: int
    start: float | None
    """Seconds from the start of the container; `None` if the container has no time stamps."""
    size: int
    """Bytes of their packet, 0 if it also had others."""
    loss: Loss
    """Loss before these frames."""

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.frames) / self.sample_rate


class Timeline:
    """Position in the audio, across the containers of a file."""

    def __init__(self, report: Report) -> None:
        self.seconds = 0.0
        """Seconds placed."""
        self._report = report
        self.begin(resets=False, has_gaps=False)

    def begin(self, *, resets: bool, has_gaps: bool) -> None:
        """Begin a container.

        Args:
            resets: Whether its clock may be reset.
            has_gaps: Whether audio may pause; elsewhere a gap is damage.
        """
        self._has_gaps = has_gaps
        self.origin = self.seconds
        """Position of its time 0."""
        self._resets = resets
        self._bytes, self._byte_seconds = 0, 0.0
        self._lost_seconds = 0.0

    def seconds_of(self, size: int) -> float:
        """Return the duration of bytes at the mean rate of the container."""
        return size * self._byte_seconds / self._bytes if self._bytes else 0.0

    def place(self, piece: TimedFrames, following: TimedFrames | None) -> Iterator[Block]:
        """Yield silence up to the time of frames, then the frames.

        Raises:
            AudioError: audio is damaged before them, and missing audio is not allowed.
        """
        gap = self._gap(piece, following)
        loss = piece.loss
        is_lost = self._bytes > 0 and loss.size > _LOST_PART * self._bytes_of(gap)
        missing = loss.reason or is_lost or not self._has_gaps
        if piece.start is None:
            gap = self._lost_frames(piece)
        if loss.reason or gap > _TOLERANCE:
            count = max(0, round(gap * piece.sample_rate))
            end = self.seconds + count / piece.sample_rate
            if missing and count:
                reason = loss.reason or "packets are lost"
                self._report.lose(self.seconds, end, reason)
            yield from self._silence(count, piece)
        self.seconds += piece.seconds
        self._bytes += piece.size
        self._byte_seconds += piece.seconds if piece.size else 0.0
        yield Block(piece.frames, piece.sample_rate)

    def _bytes_of(self, seconds: float) -> float:
        return seconds * self._bytes / self._byte_seconds if self._byte_seconds else 0.0

    def _gap(self, piece: TimedFrames, following: TimedFrames | None) -> float:
        if piece.start is None:
            return 0.0
        gap = self.origin + piece.start - self.seconds
        if abs(gap) > _JUMP and following is not None and following.start is not None:
            is_outlier = abs(following.start - piece.start - piece.seconds) > _JUMP
            if is_outlier:
                return 0.0
        if gap < -_OVERLAP or (self._resets and gap > _RESET):
            self.origin -= gap
            return 0.0
        return gap

    def _lost_frames(self, piece: TimedFrames) -> float:
        """Return the duration of a loss in whole frames; the rest counts for the next loss."""
        self._lost_seconds += self.seconds_of(piece.loss.size) if piece.loss.reason else 0.0
        gap = round(self._lost_seconds / piece.seconds) * piece.seconds
        self._lost_seconds -= gap
        return gap

    def _silence(self, count: int, piece: TimedFrames) -> Iterator[Block]:
        # By the second, so that a limit ends it before memory is taken, and of one channel, which
        # takes no time to mix down: a file of a few bytes may pause for hours.
        while count > 0:
            size = min(count, piece.sample_rate)
            self.seconds += size / piece.sample_rate
            count -= size
            yield Block(np.zeros((size, 1), np.float32), piece.sample_rate)
