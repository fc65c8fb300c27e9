"""Samples of clips, each recording decoded once however many clips it has."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mms_engine.audio.convert import SAMPLE_RATE
from mms_engine.audio.limits import AudioLimits, ReadOptions
from mms_engine.audio.read import AudioReader
from mms_engine.types import Float32Array
from mms_export.training.corpus.clip import Clip

LONGEST_SECONDS = 120.0
"""Samples of a clip beyond this are not kept, so that memory is bounded for any corpus."""
_OPTIONS = ReadOptions(limits=AudioLimits(max_seconds=48 * 3600.0))


def read_clips(clips: Iterable[Clip]) -> Iterator[tuple[Clip, Float32Array]]:
    """Yield clips with their samples `[N]`, mono at 16 kHz, full scale ±1.

    The order is by recording, and within a recording by end.

    Raises:
        AudioError: a recording cannot be read.
    """
    by_audio: dict[Path, list[Clip]] = {}
    for clip in clips:
        by_audio.setdefault(clip.audio, []).append(clip)
    for audio, own in by_audio.items():
        yield from clips_of_recording(audio, own)


def clips_of_recording(
    audio: Path, clips: Sequence[Clip], remarks: list[str] | None = None
) -> Iterator[tuple[Clip, Float32Array]]:
    """Yield the clips of a recording with their samples; see `read_clips`.

    A clip behind the end of the recording has none, and one across the end those up to it.

    Args:
        audio: The recording.
        clips: Its clips.
        remarks: Gets what is doubtful about the recording, such as channels that cancel out.
    """
    reader = AudioReader(audio, _OPTIONS)
    yield from cut_clips(reader, clips)
    if remarks is not None:
        remarks += (f"{audio}: {remark}" for remark in reader.report.all_warnings())


def cut_clips(
    pieces: Iterable[Float32Array], clips: Sequence[Clip]
) -> Iterator[tuple[Clip, Float32Array]]:
    """Yield clips, which may overlap, with their samples.

    Args:
        pieces: Consecutive samples `[N]` at 16 kHz, read only as far as clips reach.
        clips: Clips of one recording.
    """
    waiting = sorted((_Cut(clip) for clip in clips), key=lambda cut: cut.start, reverse=True)
    open_cuts: list[_Cut] = []
    position = 0
    for piece in pieces:
        end = position + piece.size
        while waiting and waiting[-1].start < end:
            open_cuts.append(waiting.pop())
        for cut in open_cuts:
            cut.add(piece, position)
        done = sorted((cut for cut in open_cuts if cut.end <= end), key=lambda cut: cut.end)
        yield from ((cut.clip, cut.samples()) for cut in done)
        open_cuts = [cut for cut in open_cuts if cut.end > end]
        position = end
        if not waiting and not open_cuts:
            return
    yield from ((cut.clip, cut.samples()) for cut in (*open_cuts, *reversed(waiting)))


class _Cut:
    """A clip whose samples are being gathered."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.start = round(clip.start * SAMPLE_RATE)
        self.end = float("inf") if clip.end is None else round(clip.end * SAMPLE_RATE)
        self._parts: list[Float32Array] = []
        self._room = round(LONGEST_SECONDS * SAMPLE_RATE)

    def add(self, piece: Float32Array, position: int) -> None:
        """Take the clip's part of a piece of the recording."""
        first = max(self.start - position, 0)
        last = int(min(self.end - position, piece.size, first + self._room))
        if last > first:
            self._parts.append(piece[first:last].copy())
            self._room -= last - first

    def samples(self) -> Float32Array:
        """Return the samples so far."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.float32)
