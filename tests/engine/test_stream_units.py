"""Components of a stream by themselves: running normalisation, endpoints, options."""

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
from mms_engine.asr.streaming.audio_buffer import AudioBuffer
from mms_engine.asr.streaming.endpoints import Endpointer
from mms_engine.asr.streaming.running_norm import RunningNormalization
from mms_engine.audio.normalization import EPSILON, statistics
from mms_engine.encoder.frames import FrameGeometry

RATE, HOP, FRAME = 16_000, 320, 0.02


def running(**options: float) -> RunningNormalization:
    return RunningNormalization(NormalizationOptions(**options), RATE, HOP)


def noise(seed: int, hops: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.3, hops * HOP).astype(np.float32)


def test_normalization_begins_with_the_prior() -> None:
    current = running(prior_level=0.2).current()
    assert current.mean == 0
    assert current.scale == pytest.approx(1 / math.sqrt(0.04 + EPSILON))


def test_normalization_without_prior_and_forgetting_is_that_of_the_whole_audio() -> None:
    sound, norm = noise(0, 50, mean=0.1), running(prior_seconds=1e-9, forget_seconds=1e9)
    norm.update(sound)
    expected = statistics(sound)
    assert norm.current().mean == pytest.approx(expected.mean, rel=1e-5)
    assert norm.current().scale == pytest.approx(expected.scale, rel=1e-5)


def test_normalization_weights_decay_by_the_formula() -> None:
    sound, norm = noise(1, 150), running(prior_seconds=0.5, prior_level=0.1, forget_seconds=2.0)
    norm.update(sound)
    age = np.arange(149, -1, -1).repeat(HOP) * HOP / RATE
    weights = np.exp(-age / 2.0)
    prior = 0.5 * RATE * math.exp(-3.0 / 2.0)
    total = prior + weights.sum()
    mean = (weights * sound).sum() / total
    variance = ((weights * sound.astype(np.float64) ** 2).sum() + prior * 0.01) / total - mean**2
    assert norm.current().mean == pytest.approx(mean, rel=1e-6)
    assert norm.level == pytest.approx(math.sqrt(variance), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), max_size=12))
def test_normalization_does_not_depend_on_cuts_or_a_restore(hops: list[int]) -> None:
    sound, whole, pieces, start = noise(2, sum(hops)), running(), running(), 0
    whole.update(sound)
    for count in hops:
        pieces.update(sound[start : start + count * HOP])
        restored = running()
        restored.restore(pieces.state())
        pieces, start = restored, start + count * HOP
    assert pieces.moments == whole.moments


def test_model_without_normalization_gets_samples_unchanged() -> None:
    geometry, sound = FrameGeometry((10, 8), (5, 4)), np.full(80, 0.25, np.float32)
    buffer = AudioBuffer(geometry, NormalizationOptions(), RATE, normalize=False)
    buffer.add(sound)
    buffer.measure(1)
    field = geometry.receptive_field
    np.testing.assert_array_equal(buffer.normalized(0, 1), sound[:field])


def endpoints(speech: str, **rules: float | None) -> list[tuple[int, str | None]]:
    """Return frame and reason of each endpoint, for `x` speech and `.` silence frames of 20 ms."""
    chosen = {"silence_seconds": 0.1, "pause_seconds": 0.06, "max_seconds": 0.4} | rules
    return list(_endpoints(Endpointer(EndpointOptions(**chosen), FRAME), speech))


def _endpoints(endpointer: Endpointer, speech: str):
    frames, at = np.array([letter == "x" for letter in speech], bool), 0
    while at < len(frames) and (cut := endpointer.find(frames[at:])) is not None:
        at += cut.frames
        yield at, cut.reason
        endpointer.start()


@pytest.mark.parametrize(
    ("speech", "rules", "expected"),
    [
        ("....", {}, []),
        (".....", {}, [(5, "silence")]),
        ("..x..", {}, []),
        ("..x...", {}, [(6, "pause")]),
        ("x...x...", {}, [(4, "pause"), (8, "pause")]),
        # A pause is reported once; the silence after it is not another.
        ("x...........", {}, [(4, "pause"), (9, None)]),
        ("..........x...", {}, [(5, "silence"), (10, None), (14, "pause")]),
        # From the maximum length on at a gap; inside a word at 1.25 times that.
        ("x" * 30, {"pause_seconds": 9.0}, [(25, "length")]),
        ("x" * 20 + "....." + "x", {"pause_seconds": 9.0}, [(25, "length")]),
        ("x" * 15 + "....." + "x" * 5, {"pause_seconds": 9.0}, [(20, "length")]),
        # Long silence does not use up the length of the next utterance.
        ("." * 10 + "x" * 20, {"pause_seconds": 9.0}, [(5, "silence"), (10, None)]),
        # Silence is cut at the maximum length even if it is not reported.
        ("." * 45, {"silence_seconds": 99.0}, [(20, None), (40, None)]),
    ],
)
def test_endpoint_rules(
    speech: str, rules: dict[str, float], expected: list[tuple[int, str | None]]
) -> None:
    assert endpoints(speech, **rules) == expected


def test_utterance_without_rules_ends_after_ten_minutes() -> None:
    speech = "x" * 29_990 + "." * 10_000
    assert next(_endpoints(Endpointer(None, FRAME), speech)) == (30_000, "length")


@pytest.mark.parametrize("cut", range(1, 14))
def test_endpointer_continues_from_its_state(cut: int) -> None:
    speech = np.array([letter == "x" for letter in "..xx...x......"], bool)
    chosen = EndpointOptions(silence_seconds=0.1, pause_seconds=0.1, max_seconds=9)
    whole, first, second = (Endpointer(chosen, FRAME) for _ in range(3))
    expected, found = whole.find(speech), first.find(speech[:cut])
    if found is None:
        second.restore(first.state())
        rest = second.find(speech[cut:])
        assert (rest.frames + cut, rest.reason) == (expected.frames, expected.reason)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        *(
            (ContextOptions, {name: value}, "longer than 0 s|exceed 120 s")
            for name, value in (
                ("chunk_seconds", 0),
                ("chunk_seconds", math.nan),
                ("chunk_seconds", math.inf),
                ("left_seconds", -1),
                ("left_seconds", 119.0),
                ("right_seconds", math.nan),
            )
        ),
        *(
            (kind, {name: value}, "must be positive")
            for kind, names in (
                (EndpointOptions, "silence_seconds pause_seconds max_seconds quiet_db"),
                (NormalizationOptions, "prior_seconds prior_level forget_seconds"),
            )
            for name in names.split()
            for value in (0.0, -1.0, math.nan)
        ),
        *(
            (StreamOptions, {"sample_rate": rate}, "must be 1000 to 768000")
            for rate in (0, 999, 768_001, -16_000)
        ),
    ],
)
def test_options_out_of_range_are_refused(
    options: type, changes: dict[str, float], message: str
) -> None:
    valid = {"kind": "cached", "left_seconds": 1.0, "chunk_seconds": 0.6, "right_seconds": 0.5}
    valid = valid if options is ContextOptions else {}
    options(**valid)
    with pytest.raises(ValueError, match=message):
        options(**{**valid, **changes})
