"""Components of a stream by themselves: running normalisation, endpoints, options."""

import math

import numpy as np
import pytest

from mms_engine.asr.streaming import (
    ContextOptions,
    EndpointOptions,
    NormalizationOptions,
    StreamOptions,
)
from mms_engine.asr.streaming.audio_buffer import AudioBuffer
from mms_engine.asr.streaming.endpoints import Endpointer
from mms_engine.audio.normalization import EPSILON, statistics
from mms_engine.audio.running_norm import RunningNormalization
from mms_engine.encoder.frames import FrameGeometry

RATE, HOP, FRAME = 16_000, 320, 0.02


@pytest.mark.parametrize("hops", [0, 1, 150])
def test_normalization_follows_the_formula(hops: int) -> None:
    """A prior and the audio so far, both weighted by age."""
    options = NormalizationOptions(prior_seconds=0.5, prior_level=0.1, forget_seconds=2.0)
    sound = np.random.default_rng(1).normal(0.05, 0.3, hops * HOP).astype(np.float32)
    running = RunningNormalization(options, RATE, HOP)
    running.update(sound)
    weights = np.exp(-np.arange(hops - 1, -1, -1).repeat(HOP) * HOP / RATE / 2.0)
    prior = 0.5 * RATE * math.exp(-hops * HOP / RATE / 2.0)
    total = prior + weights.sum()
    mean = (weights * sound).sum() / total
    variance = ((weights * sound.astype(np.float64) ** 2).sum() + prior * 0.01) / total - mean**2
    assert running.level == pytest.approx(math.sqrt(variance), rel=1e-6)
    assert running.current().mean == pytest.approx(mean, rel=1e-6)
    assert running.current().scale == pytest.approx(1 / math.sqrt(variance + EPSILON), rel=1e-6)


def test_normalization_without_prior_and_forgetting_is_that_of_the_whole_audio() -> None:
    options = NormalizationOptions(prior_seconds=1e-9, forget_seconds=1e9)
    sound = np.random.default_rng(0).normal(0.1, 0.3, 50 * HOP).astype(np.float32)
    running, expected = RunningNormalization(options, RATE, HOP), statistics(sound)
    running.update(sound)
    assert running.current().mean == pytest.approx(expected.mean, rel=1e-5)
    assert running.current().scale == pytest.approx(expected.scale, rel=1e-5)


def test_model_without_normalization_gets_samples_unchanged() -> None:
    geometry, sound = FrameGeometry((10, 8), (5, 4)), np.full(80, 0.25, np.float32)
    buffer = AudioBuffer(geometry, NormalizationOptions(), RATE, epsilon=None)
    buffer.add(sound)
    buffer.measure(1)
    np.testing.assert_array_equal(buffer.normalized(0, 1), sound[: geometry.receptive_field])


def endpoints(options: EndpointOptions | None, speech: str) -> list[tuple[int, str | None]]:
    """Return frame and reason of each endpoint, for `x` speech and `.` silence frames of 20 ms."""
    frames, found = np.array([letter == "x" for letter in speech], bool), [(0, None)]
    endpointer = Endpointer(options, FRAME)
    while (cut := endpointer.find(frames[found[-1][0] :])) is not None:
        found.append((found[-1][0] + cut.frames, cut.reason))
        endpointer.start()
    return found[1:]


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
def test_endpoint_rules(speech: str, rules: dict[str, float], expected: list) -> None:
    chosen = {"silence_seconds": 0.1, "pause_seconds": 0.06, "max_seconds": 0.4} | rules
    assert endpoints(EndpointOptions(**chosen), speech) == expected


def test_utterance_without_rules_ends_after_ten_minutes() -> None:
    assert endpoints(None, "x" * 29_990 + "." * 10_000)[0] == (30_000, "length")


_WRONG, _POSITIVE = (0, -1, math.nan), "must be positive"


@pytest.mark.parametrize(
    ("options", "names", "values", "message"),
    [
        (ContextOptions, "chunk_seconds", _WRONG, "longer than 0 s"),
        (ContextOptions, "left_seconds right_seconds", (-1, math.nan), "not be negative"),
        (ContextOptions, "left_seconds chunk_seconds", (119.0, math.inf), "exceed 120 s"),
        (EndpointOptions, "silence_seconds pause_seconds max_seconds quiet_db", _WRONG, _POSITIVE),
        (NormalizationOptions, "prior_seconds prior_level forget_seconds", _WRONG, _POSITIVE),
        (StreamOptions, "sample_rate", (0, 999, 768_001, -16_000), "must be 1000 to 768000"),
    ],
)
def test_options_out_of_range_are_refused(
    options: type, names: str, values: tuple[float, ...], message: str
) -> None:
    valid = {"kind": "cached", "left_seconds": 1.0, "chunk_seconds": 0.6, "right_seconds": 0.5}
    valid = valid if options is ContextOptions else {}
    options(**valid)
    for name in names.split():
        for value in values:
            with pytest.raises(ValueError, match=message):
                options(**{**valid, name: value})
