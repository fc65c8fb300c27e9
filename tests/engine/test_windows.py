"""Windows of long audio: every frame is kept once, with context on both sides."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mms_engine.encoder.windows import Window, WindowOptions, next_window, plan_windows

OPTIONS = WindowOptions(seconds=30.0, context_seconds=3.0)


def plan(frames: int) -> list[Window]:
    return plan_windows(frames, OPTIONS, frame_seconds=0.02)


@given(st.integers(0, 400_000))
def test_kept_frames_have_no_gap_or_overlap(frames: int) -> None:
    kept = 0
    for window in plan(frames):
        assert window.keep_start == kept
        assert window.keep_end > kept
        assert window.start <= window.keep_start < window.keep_end <= window.end
        kept = window.keep_end
    assert kept == frames


@given(st.integers(1801, 400_000))
def test_every_kept_frame_has_its_context(frames: int) -> None:
    for window in plan(frames):
        assert window.keep_start - window.start >= 150 or window.start == 0
        assert window.end - window.keep_end >= 150 or window.end == frames


@given(st.integers(1801, 400_000))
def test_windows_of_long_audio_have_one_size(frames: int) -> None:
    assert {window.frames for window in plan(frames)} == {1800}


def test_audio_of_one_window_is_not_cut() -> None:
    assert plan(1800) == [Window(0, 1800, 0, 1800)]
    assert len(plan(1801)) == 2


@given(st.integers(0, 20_000), st.lists(st.integers(1, 5_000), max_size=20))
def test_windows_of_arriving_frames_are_those_of_the_whole(frames: int, steps: list[int]) -> None:
    """A window is known once the frames that have arrived decide it."""
    arrivals = [*(n for n in itertools.accumulate(steps) if n < frames), frames]
    found: list[Window] = []
    kept = 0
    for number, known in enumerate(arrivals):
        more = number + 1 < len(arrivals)
        while window := next_window(kept, known, OPTIONS, frame_seconds=0.02, more=more):
            found.append(window)
            kept = window.keep_end
    assert found == plan(frames)
