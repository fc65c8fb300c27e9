"""Margins and chunks of the decoder, and durations at every speed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine.bundle.manifest import Vits
from mms_engine.tts.chunks import LEAST_SHARED, LEAST_WINDOW, Shape, margin_steps, windows
from mms_engine.tts.durations import natural, timed
from tiny_voices import TINY


def reach(model: Vits) -> int:
    """Return the margin by following every step of each convolution, one by one."""
    steps = {-3, -2, -1, 0, 1, 2, 3}
    scale = int(np.prod(model.upsample_rates[1:]))
    steps = {step + sample for step in steps for sample in range(scale)}
    stages = list(zip(model.upsample_rates, model.upsample_kernel_sizes, strict=True))

    def blocks(steps: set[int]) -> set[int]:
        found: set[int] = set()
        for kernel, dilations in zip(
            model.resblock_kernel_sizes, model.resblock_dilation_sizes, strict=True
        ):
            reached = set(steps)
            for dilation in dilations:
                for spread in (1, dilation):
                    half = kernel // 2
                    offsets = range(-half * spread, half * spread + 1, spread)
                    reached = {step + offset for step in reached for offset in offsets}
            found |= reached
        return found

    for rate, kernel in reversed(stages[1:]):
        padding = (kernel - rate) // 2
        steps = blocks(steps)
        reads = {(step + padding - tap, rate) for step in steps for tap in range(kernel)}
        steps = {place // rate for place, rate in reads if place % rate == 0}
    steps = blocks(steps)
    return max(-min(steps), max(steps))


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {k: tuple(map(tuple, v)) if k == "resblock_dilation_sizes" else v for k, v in TINY.items()
         if k.startswith(("upsample", "resblock"))},
        {"upsample_rates": (8, 8, 4), "upsample_kernel_sizes": (16, 16, 8)},
        {"upsample_rates": (5, 4, 3, 2), "upsample_kernel_sizes": (9, 8, 7, 6)},
        {"upsample_rates": (4,), "upsample_kernel_sizes": (8,)},
    ],
)  # fmt: skip
def test_margin_is_the_reach_of_the_convolutions(sizes: dict) -> None:
    assert margin_steps(Vits(**sizes)) == reach(Vits(**sizes))


def test_margin_of_mms_is_74_steps() -> None:
    assert margin_steps(Vits()) == 74


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3000),
    st.builds(Shape, st.integers(1, 12), st.integers(0, 90), st.sampled_from([16, 64, 128, 256])),
    st.data(),
)
def test_chunks_cover_a_sentence_once(steps: int, shape: Shape, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, steps - 1))
    found = list(windows(steps, shape, begin))
    assert [one.start for one in found] == [begin, *(one.end for one in found[:-1])]
    assert found[-1].end == steps
    for one in found:
        assert 0 <= one.first <= max(0, one.start - shape.margin)
        assert one.last >= min(steps, one.end + shape.margin)
        width = one.last - one.first
        assert width >= LEAST_SHARED or LEAST_WINDOW <= width <= shape.channels
        assert one.last <= steps or (one.first == 0 and width <= LEAST_SHARED)
    frames = [(one.end - one.start) / shape.rate for one in found[:-1]]
    assert frames == [4, 8, 16, *[64] * len(frames)][: len(frames)]


LOGS = st.lists(st.floats(-3, 3), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(LOGS, st.floats(0.25, 4), st.booleans())
def test_durations_have_the_ratio_of_the_speed(
    logs: list[float], speed: float, blanks: bool
) -> None:
    log_durations = np.array(logs, np.float32)
    is_blank = np.zeros(len(logs), bool)
    is_blank[:: 2 if blanks else len(logs) + 1] = blanks
    whole = int(natural(log_durations, 1.0).sum())
    timing = timed(log_durations, is_blank, 1.0, speed)
    frames = timing.frames.sum() / timing.tempo
    assert abs(frames - whole / speed) <= 0.5 or frames == 1
    assert (timing.frames[~is_blank] >= 1).all() or is_blank.all()
    assert timing.frames.min() >= 0


@pytest.mark.parametrize(
    ("speed", "blanks_last", "tempo"), [(3.0, True, 1.0), (5.0, False, 1.0), (10.0, False, 1.25)]
)
def test_blanks_go_before_the_waveform_is_shortened(
    speed: float, blanks_last: bool, tempo: float
) -> None:
    log_durations = np.full(81, np.log(3.9), np.float32)
    is_blank = np.arange(81) % 2 == 0
    timing = timed(log_durations, is_blank, 1.0, speed)
    assert (timing.frames[is_blank].min() > 0) == blanks_last
    assert timing.frames[~is_blank].min() >= 1
    assert timing.tempo == pytest.approx(tempo, abs=0.01)


def test_durations_at_speed_1_are_those_of_transformers() -> None:
    logs = np.array([-5.0, 0.0, 0.1, 1.0, 2.5], np.float32)
    assert natural(logs, 1.0).tolist() == [1, 1, 2, 3, 13]
    assert natural(logs, 1.5).tolist() == [1, 1, 1, 2, 9]
    assert timed(logs, np.zeros(5, bool), 1.0, 1.0).frames.tolist() == [1, 1, 2, 3, 13]
