import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine.audio import AudioLimits, Normalization, from_pcm, normalize, statistics
from mms_engine.audio import normalization as module
from mms_engine.errors import AudioError
from sounds import noise, tone


@pytest.mark.parametrize(("dtype", "scale"), [(np.int16, 2**15), (np.int32, 2**31)])
def test_integers_are_scaled_by_their_full_range(dtype, scale):
    samples = np.array([np.iinfo(dtype).min, -1, 0, 1, np.iinfo(dtype).max], dtype)
    audio = from_pcm(samples, 16_000)
    np.testing.assert_array_equal(audio.samples, (samples / scale).astype(np.float32))
    assert audio.samples[0] == -1.0


def test_floats_are_kept_bit_for_bit():
    assert from_pcm(noise(), 16_000).samples.tobytes() == noise().tobytes()


def test_channels_are_mixed_and_resampled():
    frames = np.stack([noise(1.0, 48_000), -noise(1.0, 48_000), tone(1.0, 48_000)], axis=1)
    expected = soxr.resample(
        frames.mean(axis=1, dtype=np.float64).astype(np.float32), 48_000, 16_000
    )
    np.testing.assert_allclose(from_pcm(frames, 48_000).samples, expected, atol=2e-7)


def test_result_does_not_share_the_callers_array():
    samples = noise()
    audio = from_pcm(samples, 16_000)
    samples[:] = 0
    assert audio.samples.any()


@pytest.mark.parametrize(
    ("samples", "got"),
    [
        (np.zeros(10, np.uint8), r"uint8\[10\]"),
        (np.zeros(10, np.complex64), r"complex64\[10\]"),
        (np.zeros((2, 3, 4), np.float32), r"float32\[2, 3, 4\]"),
        (np.zeros(0, np.float32), r"float32\[0\]"),
        (np.zeros((10, 0), np.float32), r"float32\[10, 0\]"),
        (np.float32(1.0), r"float32\[\]"),
    ],
)
def test_invalid_pcm_is_refused(samples, got):
    with pytest.raises(AudioError, match=rf"^PCM must be .* not empty, got {got}$"):
        from_pcm(samples, 16_000)


@pytest.mark.parametrize("rate", [0, -1, 999, 1_000_000])
def test_invalid_rate_is_refused(rate):
    with pytest.raises(AudioError, match=f"^the PCM declares a sample rate of {rate} Hz"):
        from_pcm(noise(0.1), rate)


def test_pcm_limits_and_nan():
    with pytest.raises(AudioError, match="longer than 2 s"):
        from_pcm(noise(), 16_000, limits=AudioLimits(max_seconds=2))
    with pytest.raises(AudioError, match="has 3 channels, the limit is 2"):
        from_pcm(np.zeros((5, 3), np.float32), 16_000, limits=AudioLimits(max_channels=2))
    bad = noise()
    bad[20_000] = np.nan
    with pytest.raises(AudioError, match=r"NaN or infinity at 1\.2500 s"):
        from_pcm(bad, 16_000)


# Normalisation

SOUNDS = {
    "noise": noise(10.0),
    "with a mean": noise(10.0) + np.float32(0.7),
    "quiet": noise(10.0) * np.float32(1e-4),
    "loud": noise(10.0) * np.float32(30.0),
    "silence": np.zeros(16_000, np.float32),
    "constant": np.full(16_000, 0.25, np.float32),
    "one sample": np.array([0.5], np.float32),
}


@pytest.mark.parametrize("case", SOUNDS)
def test_normalization_equals_its_definition_in_float64(case):
    x = SOUNDS[case].astype(np.float64)
    expected = (x - x.mean()) / np.sqrt(x.var() + 1e-7)
    result = normalize(SOUNDS[case])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["noise", "quiet", "loud", "silence"])
def test_normalization_equals_transformers_feature_extractor(case):
    transformers = pytest.importorskip("transformers")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = extractor(SOUNDS[case], sampling_rate=16_000, return_tensors="np").input_values[0]
    difference = np.abs(normalize(SOUNDS[case]) - expected).max()
    assert difference <= 1e-6 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("block", [1, 7, 1000, 65_536])
def test_statistics_do_not_depend_on_block_size(monkeypatch, block):
    sound = SOUNDS["with a mean"][: 20 * block]
    whole = statistics(sound)
    monkeypatch.setattr(module, "_BLOCK", block)
    pieces = statistics(sound)
    assert pieces.mean == pytest.approx(whole.mean, rel=1e-12)
    assert pieces.scale == pytest.approx(whole.scale, rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5000), max_size=8))
def test_normalizing_parts_equals_normalizing_the_whole(cuts):
    sound = SOUNDS["with a mean"][:5000]
    normalization = statistics(sound)
    bounds = [0, *sorted(cuts), len(sound)]
    parts = [normalization.apply(sound[a:b]) for a, b in itertools.pairwise(bounds)]
    assert np.concatenate(parts).tobytes() == normalize(sound).tobytes()


def test_statistics_are_exact_beyond_float32():
    """Ten minutes with a large offset: float32 sums would be off by far more."""
    sound = np.tile(noise(1.0) * np.float32(1e-3) + np.float32(1.0), 600)
    exact = sound[:16_000].astype(np.float64)
    result = statistics(sound)
    assert result.mean == pytest.approx(exact.mean(), rel=1e-12)
    assert result.scale == pytest.approx(1 / np.sqrt(exact.var() + 1e-7), rel=1e-9)


def test_memory_map_is_normalized_to_an_array(tmp_path):
    sound = np.memmap(tmp_path / "x", np.float32, "w+", shape=(16_000,))
    sound[:] = noise(1.0)
    result = normalize(sound)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, normalize(noise(1.0)))


def test_normalization_of_no_samples():
    assert statistics(np.zeros(0, np.float32)) == Normalization(0.0, pytest.approx(1e7**0.5))
    assert normalize(np.zeros(0, np.float32)).shape == (0,)


@pytest.mark.parametrize("size", [1, 999, 1 << 14, 1 << 20])
def test_statistics_of_a_stream_do_not_depend_on_its_pieces(monkeypatch, size):
    monkeypatch.setattr(module, "_BLOCK", 5000)
    samples = noise(2.0)[: 4000 if size == 1 else None]
    pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
    assert module.streamed_statistics(pieces) == statistics(samples)
    assert module.streamed_statistics([]) == statistics(samples[:0])


def test_statistics_do_not_depend_on_the_threads_of_blas() -> None:
    code = (
        "import numpy as np; from mms_engine.audio import statistics; "
        "samples = np.random.default_rng(0).normal(0, 0.1, 400_000).astype(np.float32); "
        "print(statistics(samples).scale.hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1
