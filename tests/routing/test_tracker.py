"""Language of a stream from given logits: thresholds, sums and state."""

from collections.abc import Callable

import numpy as np
import pytest

from mms_engine.asr.streaming.language import LanguageDecision
from mms_engine.routing.candidates import Candidates
from mms_engine.routing.tracker import StreamTracker
from mms_engine.types import Float32Array
from voices import LOW, RATE, pause, voice

STRIDE = 320
CANDIDATES = Candidates(("eng", "swh"), ("eng", "swh"), (0, 1))
SPEECH = voice(24, LOW, 1)
Odds = Callable[[float], float]
"""Log-odds of swh against eng in a window that ends at a time in seconds."""


def follow(
    odds: Odds, sound: Float32Array = SPEECH, *, restored_after: int = 0
) -> tuple[list[tuple[float, LanguageDecision]], list[float]]:
    """Return the decisions, with the seconds of audio before each, and the ends of the windows."""
    tracker = StreamTracker(CANDIDATES, STRIDE, RATE)
    decisions, ends = [], []
    hop = tracker.hop * STRIDE
    for start in range(0, len(sound) - hop + 1, hop):
        due = tracker.due
        tracker.add(sound[start : start + hop])
        while windows := tracker.windows(ended=False):
            assert tracker.position >= due
            ((first, last),) = windows
            ends.append(last * STRIDE / RATE)
            middle = (first + last) / 2 * STRIDE / RATE
            decision = tracker.take([np.array([0.0, odds(middle)], np.float32)])
            if decision is not None:
                decisions.append((tracker.position * STRIDE / RATE, decision))
            if len(ends) == restored_after:
                state = tracker.state()
                tracker = StreamTracker(CANDIDATES, STRIDE, RATE)
                tracker.restore(state)
    return decisions, ends


def test_one_contradicting_window_changes_nothing() -> None:
    contradicted: list[float] = []

    def odds(middle: float) -> float:
        if middle > 6 and not contradicted:
            contradicted.append(middle)
        return 3.0 if contradicted == [middle] else -5.0

    decisions, ends = follow(odds)
    assert [one.code for _, one in decisions] == ["eng"]
    assert contradicted
    assert ends[-1] > contradicted[0] + 4


def test_windows_that_agree_change_the_language() -> None:
    decisions, _ = follow(lambda middle: 3.0 if middle > 10 else -5.0)
    assert [one.code for _, one in decisions] == ["eng", "swh"]
    at, change = decisions[1]
    assert abs(change.frame * STRIDE / RATE - 10) <= 1.0
    assert change.frame * STRIDE / RATE <= at


def test_change_moves_to_a_pause() -> None:
    sound = np.concatenate([voice(9.5, LOW, 1), pause(0.5), voice(9.0, LOW, 2)])
    decisions, _ = follow(lambda middle: 6.0 if middle > 9.4 else -6.0, sound)
    assert [one.code for _, one in decisions] == ["eng", "swh"]
    assert 9.5 <= decisions[1][1].frame * STRIDE / RATE <= 10.0


def test_pause_before_a_change_takes_one_window_to_confirm() -> None:
    sound = np.concatenate([voice(9.5, LOW, 1), pause(0.5), voice(9.0, LOW, 2)])
    decisions, ends = follow(lambda middle: 6.0 if middle > 9.4 else -6.0, sound)
    at, change = decisions[1]
    behind = [end for end in ends if change.frame * STRIDE / RATE < end <= at]
    assert len(behind) == 1  # the one that contradicted; the other ends at the pause
    assert sum(abs(end - 9.5) < 0.1 for end in ends) == 1


def test_pause_in_the_new_language_is_not_taken_for_the_change() -> None:
    sound = np.concatenate([voice(9.5, LOW, 1), pause(0.5), voice(9.0, LOW, 2)])
    decisions, _ = follow(lambda middle: 6.0 if middle > 8 else -6.0, sound)
    assert [one.code for _, one in decisions] == ["eng", "swh"]
    assert abs(decisions[1][1].frame * STRIDE / RATE - 8) <= 1.0


@pytest.mark.parametrize("count", range(1, 9))
def test_restored_tracker_decides_the_same(count: int) -> None:
    def odds(middle: float) -> float:
        return 3.0 if middle > 7 else -5.0

    decisions, ends = follow(odds)
    assert len(ends) > 8
    assert len(decisions) == 2
    assert follow(odds, restored_after=count) == (decisions, ends)


def test_silence_is_not_classified() -> None:
    sound = np.concatenate([voice(6, LOW, 1), pause(9.0)])
    decisions, ends = follow(lambda middle: -5.0, sound)
    assert len(decisions) == 1
    assert ends[-1] <= 7.0
