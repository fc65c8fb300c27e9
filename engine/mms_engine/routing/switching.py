"""Code switching in recordings: windowed posteriors, Viterbi, and borders at pauses."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.lid.activity import BoolArray
from mms_engine.routing.candidates import Scores

WINDOW_SECONDS = 2.0
"""Audio of a window. Shorter ones name the wrong language more often than borders gain."""
HOP_SECONDS = 0.5
_SNAP_SECONDS = 0.75
"""Distance within which a border moves to a pause."""
_SHORTEST_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class LanguageSpan:
    """Frames in one language."""

    start: int
    end: int
    candidate: int
    """Index among the candidates."""
    probability: float
    """Mean probability of the language over the windows of speech, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Sizes in frames."""

    window: int
    hop: int
    snap: int
    pause: int

    @classmethod
    def of(cls, frame_seconds: float) -> "Timing":
        """Return the sizes for frames of a duration."""
        window, hop = round(WINDOW_SECONDS / frame_seconds), round(HOP_SECONDS / frame_seconds)
        snap = round(_SNAP_SECONDS / frame_seconds)
        return cls(
            window=window, hop=hop, snap=snap, pause=round(_SHORTEST_PAUSE_SECONDS / frame_seconds)
        )


def language_spans(
    frames: int,
    speech: BoolArray,
    timing: Timing,
    posteriors: Callable[[Sequence[tuple[int, int]]], list[Scores]],
    penalty: float,
) -> list[LanguageSpan]:
    """Return the languages of a recording, in order, covering all frames.

    Windows are centred every hop. The log-probabilities of a hop count with the share of a window
    that it is, since windows overlap, and with the share of speech in its window.

    Args:
        frames: Frames of the recording, at least one.
        speech: Whether each frame is speech, bool `[T]`; missing frames at the end are not.
        timing: Sizes.
        posteriors: Maps windows of frames to log-probabilities `[N]` of the candidates.
        penalty: Loss of a change of language, in nats.
    """
    flags = np.zeros(frames, bool)
    flags[: min(frames, len(speech))] = speech[:frames]
    windows = _windows(frames, timing)
    shares = np.array([flags[start:end].mean() for start, end in windows])
    spoken = [index for index, share in enumerate(shares) if share > 0]
    found = posteriors([windows[index] for index in spoken])
    count = len(found[0]) if found else 1
    scores = np.zeros((len(windows), count))
    for index, own in zip(spoken, found, strict=True):
        scores[index] = own * shares[index] * timing.hop / timing.window
    path = viterbi(scores, penalty)
    probabilities = np.full((len(windows), count), np.nan)
    for index, own in zip(spoken, found, strict=True):
        probabilities[index] = np.exp(own)
    return _spans(path, probabilities, flags, timing)


def _windows(frames: int, timing: Timing) -> list[tuple[int, int]]:
    """Return a window per hop, of full length where the recording has it."""
    centres = range(timing.hop // 2, max(frames, 1), timing.hop)
    starts = [
        min(max(0, centre - timing.window // 2), max(0, frames - timing.window))
        for centre in centres
    ] or [0]
    return [(start, min(frames, start + timing.window)) for start in starts]


def viterbi(scores: Scores, penalty: float) -> npt.NDArray[np.int64]:
    """Return the best sequence of states, int64 `[T]`, of scores `[T, N]`.

    A change of state costs `penalty`.
    """
    total = scores[0].copy()
    steps = np.empty(scores.shape, np.int64)
    for index, own in enumerate(scores):
        if index:
            best = int(total.argmax())
            change = total[best] - penalty > total
            steps[index] = np.where(change, best, np.arange(len(own)))
            total = np.maximum(total, total[best] - penalty) + own
    path = np.empty(len(scores), np.int64)
    path[-1] = total.argmax()
    for index in range(len(scores) - 1, 0, -1):
        path[index - 1] = steps[index, path[index]]
    return path


def _spans(
    path: npt.NDArray[np.int64], probabilities: Scores, flags: BoolArray, timing: Timing
) -> list[LanguageSpan]:
    changes = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    borders = [0]
    for change in changes[1:-1]:
        borders.append(snap(change * timing.hop, borders[-1], flags, timing.snap, timing.pause))
    borders.append(len(flags))
    spans = []
    for number, (first, last) in enumerate(itertools.pairwise(changes)):
        candidate = int(path[first])
        own = probabilities[first:last, candidate]
        known = own[~np.isnan(own)]
        probability = float(known.mean()) if len(known) else 0.0
        start, end = borders[number], borders[number + 1]
        if end > start:
            spans.append(LanguageSpan(start, end, candidate, round(probability, 4)))
    return spans


def snap(border: int, earliest: int, speech: BoolArray, distance: int, pause: int) -> int:
    """Return the middle of the longest pause near a border, or the border.

    Args:
        border: Frame.
        earliest: First frame that may be returned.
        speech: Whether each frame is speech, bool `[T]`.
        distance: Most frames between the border and the pause.
        pause: Fewest frames of a pause.
    """
    first = max(earliest, border - distance)
    near = speech[first : border + distance]
    edges = np.flatnonzero(np.diff(np.concatenate([[True], near, [True]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    lengths = runs[:, 1] - runs[:, 0]
    if not len(runs) or lengths.max() < pause:
        return max(border, earliest)
    start, end = runs[lengths.argmax()].tolist()
    return first + int(start + end) // 2
