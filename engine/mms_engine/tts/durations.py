"""Durations of tokens in frames, and how a speed is reached."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.types import Float32Array

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
_STEPS = 40
"""Halvings of the interval in which a scale is searched: to 1e-9 of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """Durations of a sentence."""

    frames: Int64Array
    """Shape `[T]`: frames of each token."""
    tempo: float
    """Factor by which the waveform is shortened afterwards; 1 for none."""


def natural(log_durations: Float32Array, rate: float) -> Int64Array:
    """Return the durations of transformers: `ceil(exp(log_durations) / rate)`, at least 1 in all.

    Args:
        log_durations: Shape `[T]`, natural logarithms of frames.
        rate: Speaking rate of the voice.
    """
    frames = np.ceil(np.exp(log_durations) * np.float32(1.0 / rate)).astype(np.int64)
    if not frames.sum():
        frames[:1] = 1
    return frames


def timed(log_durations: Float32Array, is_blank: BoolArray, rate: float, speed: float) -> Timing:
    """Return the durations at a speed, in frames whose sum is the natural one divided by it.

    By the first of these that reaches it: every token is scaled, but keeps a frame; blanks shrink
    to nothing, while letters keep a frame; one frame per letter and none per blank, and the
    waveform is shortened by the rest.

    Args:
        log_durations: Shape `[T]`, natural logarithms of frames.
        is_blank: Shape `[T]`: whether a token is a blank between letters.
        rate: Speaking rate of the voice.
        speed: Factor of the speed, above 0.
    """
    whole = natural(log_durations, rate)
    if speed == 1:
        return Timing(whole, 1.0)
    target = max(1, round(int(whole.sum()) / speed))
    exact = np.exp(log_durations.astype(np.float64)) / rate
    letters = int((~is_blank).sum()) or len(exact)
    least = np.ones(len(exact), np.int64)
    if target < len(exact) and letters < len(exact):
        least[is_blank] = 0
    if target <= least.sum():
        return Timing(least, float(least.sum()) / target)
    return Timing(_scaled(exact, least, target), 1.0)


def _scaled(exact: npt.NDArray[np.float64], least: Int64Array, target: int) -> Int64Array:
    """Return durations in proportion to `exact`, at least `least`, whose sum is `target`."""
    low, high = 0.0, 2.0 * target / max(float(exact.min()), 1e-6)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if np.maximum(np.floor(exact * middle), least).sum() > target:
            high = middle
        else:
            low = middle
    frames = np.maximum(np.floor(exact * low), least).astype(np.int64)
    # The rest goes to the tokens that were cut most; ties to the first.
    missing = target - int(frames.sum())
    order = np.argsort(frames - exact * low, kind="stable")
    frames[order[:missing]] += 1
    return frames
