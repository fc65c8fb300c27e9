"""Batches of windows: rows of similar length, within a bound on memory."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from mms_engine.encoder.windows import Window


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window of one utterance."""

    utterance: int
    """Index of the utterance."""
    language: str
    window: Window

    @property
    def frames(self) -> int:
        """Frames the encoder runs on."""
        return self.window.frames


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """Bounds of one encoder run."""

    frames: int
    """Most rows times the frames of the longest; a longer single row still runs, alone."""
    languages: int
    """Most languages: those that fit in the bank."""
    rows_within: Callable[[int], int | None] | None = None
    """Returns the most rows of a number of frames in one run; `None`, here or returned, for no
    limit."""
    padded_share: float = 1.15
    """Most frames of a run, padding included, per frame of its rows: padding is computed too."""


def plan_batches(rows: Sequence[WindowRow], limits: BatchLimits) -> list[list[WindowRow]]:
    """Assign every row to a batch.

    Utterances of one window are sorted by length, so that padding is short. Windows of a longer
    utterance stay in order and adjacent: its decoder reads them one after the other, and nothing
    waits in memory.
    """
    by_utterance = [list(group) for _, group in groupby(rows, key=lambda row: row.utterance)]
    short = [group[0] for group in by_utterance if len(group) == 1]
    crowded = len({row.language for row in short}) > limits.languages
    # More languages than fit: rows of a language stay together, or each batch would reload it.
    short.sort(key=lambda row: (row.language if crowded else "", row.frames))
    batches = _fill(short, limits)
    for group in by_utterance:
        if len(group) > 1:
            batches.extend(_fill(group, limits))
    return batches


def _fill(rows: Iterable[WindowRow], limits: BatchLimits) -> list[list[WindowRow]]:
    batches: list[list[WindowRow]] = []
    for row in rows:
        if batches and fits(batches[-1], row, limits):
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def fits(batch: Sequence[WindowRow], row: WindowRow, limits: BatchLimits) -> bool:
    """Return whether a row can join a batch that is not empty."""
    rows = [*batch, row]
    frames = [each.frames for each in rows]
    padded = max(frames) * len(frames)
    most = limits.rows_within(max(frames)) if limits.rows_within else None
    return (
        padded <= limits.frames
        and padded <= limits.padded_share * sum(frames)
        and len({each.language for each in rows}) <= limits.languages
        and (most is None or len(rows) <= most)
    )
