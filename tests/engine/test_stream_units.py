"""The parts of a stream, each by itself: numbers that can be worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine.asr.streaming import (
    ContextOptions,
    EndpointOptions,
    NormalizationOptions,
    StreamOptions,
)
from mms_engine.asr.streaming.endpoints import Endpointer
from mms_engine.asr.streaming.running_norm import RunningNormalization
from mms_engine.audio.normalization import EPSILON, statistics

RATE, HOP, FRAME = 16_000, 320, 0.02


# The running mean and variance.


def test_the_prior_is_what_holds_before_any_sound() -> None:
    current = RunningNormalization(NormalizationOptions(prior_level=0.2), RATE, HOP).current()
    assert current.mean == 0
    assert current.scale == pytest.approx(1 / math.sqrt(0.04 + EPSILON))


def test_without_prior_and_forgetting_it_is_that_of_the_whole_sound() -> None:
    sound = np.random.default_rng(0).normal(0.1, 0.3, 50 * HOP).astype(np.float32)
    chosen = NormalizationOptions(prior_seconds=1e-9, forget_seconds=1e9)
    running = RunningNormalization(chosen, RATE, HOP)
    running.hear(sound)
    expected = statistics(sound)
    assert running.current().mean == pytest.approx(expected.mean, rel=1e-5)
    assert running.current().scale == pytest.approx(expected.scale, rel=1e-5)


def test_what_is_old_counts_less_by_the_formula() -> None:
    chosen = NormalizationOptions(prior_seconds=0.5, prior_level=0.1, forget_seconds=2.0)
    running = RunningNormalization(chosen, RATE, HOP)
    sound = np.random.default_rng(1).normal(0, 0.3, 150 * HOP).astype(np.float32)
    running.hear(sound)
    age = np.arange(149, -1, -1).repeat(HOP) * HOP / RATE
    weights = np.exp(-age / 2.0)
    prior = 0.5 * RATE * math.exp(-3.0 / 2.0)
    total = prior + weights.sum()
    mean = (weights * sound).sum() / total
    variance = ((weights * sound.astype(np.float64) ** 2).sum() + prior * 0.01) / total - mean**2
    assert running.current().mean == pytest.approx(mean, rel=1e-6)
    assert running.level == pytest.approx(math.sqrt(variance), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), max_size=12))
def test_how_the_hops_came_changes_no_bit(hops: list[int]) -> None:
    sound = np.random.default_rng(2).normal(0, 0.1, sum(hops) * HOP).astype(np.float32)
    whole = RunningNormalization(NormalizationOptions(), RATE, HOP)
    whole.hear(sound)
    pieces, start = RunningNormalization(NormalizationOptions(), RATE, HOP), 0
    for count in hops:
        pieces.hear(sound[start : start + count * HOP])
        moved = RunningNormalization(NormalizationOptions(), RATE, HOP)
        moved.restore(pieces.state())
        pieces, start = moved, start + count * HOP
    assert pieces.moments == whole.moments


# Where utterances end.


def ends(speech: str, **rules: float | None) -> list[tuple[int, str | None]]:
    """Return where utterances end in frames of 20 ms, `x` speech and `.` silence, and why."""
    chosen = EndpointOptions(
        **{"silence_seconds": 0.1, "pause_seconds": 0.06, "max_seconds": 0.4} | rules
    )
    return list(_ends(Endpointer(chosen, FRAME), speech))


def _ends(endpointer: Endpointer, speech: str):
    frames, at = np.array([letter == "x" for letter in speech], bool), 0
    while at < len(frames):
        cut = endpointer.find(frames[at:])
        if cut is None:
            return
        at += cut.frames
        yield at, cut.reason
        endpointer.start()


@pytest.mark.parametrize(
    ("speech", "expected"),
    [
        ("....", []),
        (".....", [(5, "silence")]),
        ("..x..", []),
        ("..x...", [(6, "pause")]),
        ("x...x...", [(4, "pause"), (8, "pause")]),
        # A pause is told once; the silence behind it is not another.
        ("x...........", [(4, "pause"), (9, None)]),
        ("..........x...", [(5, "silence"), (10, None), (14, "pause")]),
        # At a gap from the greatest length on, in a word from 1.25 times that.
        ("x" * 30, [(25, "length")]),
        ("x" * 20 + "....." + "x", [(25, "length")]),
        ("x" * 15 + "....." + "x" * 5, [(20, "length")]),
    ],
)
def test_the_rules(speech: str, expected: list[tuple[int, str | None]]) -> None:
    rules = {"pause_seconds": 0.06} if "......" in speech or "x..." in speech else {}
    if "length" in {reason for _, reason in expected}:
        rules = {"pause_seconds": 9.0}
    assert ends(speech, **rules) == expected


def test_long_silence_leaves_an_utterance_its_whole_length() -> None:
    found = ends("." * 100 + "x" * 20, pause_seconds=9.0)
    assert all(reason is None for _, reason in found[1:])
    assert found[0] == (5, "silence")


def test_where_silence_may_be_longer_than_an_utterance_it_is_cut_untold() -> None:
    assert ends("." * 45, silence_seconds=99.0) == [(20, None), (40, None)]


def test_without_rules_an_utterance_ends_after_ten_minutes() -> None:
    endpointer = Endpointer(None, FRAME)
    speech = "x" * 29_990 + "." * 10_000
    assert next(_ends(endpointer, speech)) == (30_000, "length")


@pytest.mark.parametrize("cut", range(1, 14))
def test_counts_are_taken_up_elsewhere(cut: int) -> None:
    speech = np.array([letter == "x" for letter in "..xx...x......"], bool)
    chosen = EndpointOptions(silence_seconds=0.1, pause_seconds=0.1, max_seconds=9)
    whole, first, second = (Endpointer(chosen, FRAME) for _ in range(3))
    expected = whole.find(speech)
    found = first.find(speech[:cut])
    if found is None:
        second.restore(first.state())
        rest = second.find(speech[cut:])
        assert (rest.frames + cut, rest.reason) == (expected.frames, expected.reason)
    else:
        assert found == expected


# What two runs agree on.


# Options.


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunk_seconds": 0},
        {"chunk_seconds": math.nan},
        {"left_seconds": -1},
        {"right_seconds": math.nan},
        {"left_seconds": 119.0},
        {"chunk_seconds": math.inf},
    ],
)
def test_contexts_that_are_refused(wrong: dict[str, float]) -> None:
    right = {"kind": "cached", "left_seconds": 1.0, "chunk_seconds": 0.6, "right_seconds": 0.5}
    ContextOptions(**right)
    with pytest.raises(ValueError, match=r"a chunk must be longer|may hear 120 s"):
        ContextOptions(**{**right, **wrong})


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_numbers_that_are_refused(value: float) -> None:
    for name in ("silence_seconds", "pause_seconds", "max_seconds", "quiet_db"):
        with pytest.raises(ValueError, match="positive numbers only"):
            EndpointOptions(**{name: value})
    for name in ("prior_seconds", "prior_level", "forget_seconds"):
        with pytest.raises(ValueError, match="positive numbers only"):
            NormalizationOptions(**{name: value})


@pytest.mark.parametrize("rate", [0, 999, 768_001, -16_000])
def test_rates_that_are_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="possible are 1000 to 768000"):
        StreamOptions(sample_rate=rate)
