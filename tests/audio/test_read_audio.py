"""Reading of audio files and streams: formats and exactness."""

import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
import soxr

from mms_engine.audio import read_audio
from mms_engine.audio.read import from_pcm
from sounds import encode, film, noise, tone, wav

ENCODED = [
    ("clip.m4a", "aac", 44_100),
    ("clip.mp4", "aac", 48_000),
    ("clip.webm", "libopus", 48_000),
    ("clip.opus", "libopus", 48_000),
    ("clip.mp3", "libmp3lame", 44_100),
    ("clip.g722", "g722", 16_000),
    ("clip.aac", "aac", 16_000),
    ("clip.avi", "ac3", 48_000),
]


def similarity(actual, expected):
    """Return the highest correlation of two tones over delays of a few periods."""
    count = min(len(actual), len(expected)) - 2000
    middle = expected[1000:count]
    return max(
        np.corrcoef(actual[1000 + delay : count + delay], middle)[0, 1] for delay in range(120)
    )


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_mono_wav_at_16_khz_is_kept_bit_for_bit(tmp_path, subtype):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(5.0), 16_000, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    audio = read_audio(path)
    assert audio.sample_rate == 16_000
    assert audio.samples.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["clip.flac", "clip.aiff", "clip.au", "clip.w64", "clip.caf"])
def test_lossless_formats_hold_the_same_samples(tmp_path, name):
    path = tmp_path / name
    sound = (np.round(noise(2.0) * 32768) / 32768).astype(np.float32)
    soundfile.write(path, sound, 16_000, subtype="PCM_16")
    np.testing.assert_array_equal(read_audio(path).samples, sound)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_samples_at_any_rate_are_at_least_one_sample(tmp_path, rate, count):
    path = tmp_path / "short.wav"
    path.write_bytes(wav(b"\x00\x10" * count, rate=rate))
    samples = read_audio(path).samples
    assert len(samples) == max(1, round(count * 16_000 / rate))
    assert np.isfinite(samples).all()
    array = from_pcm(np.full(count, 4096, np.int16), rate).samples
    assert array.tobytes() == samples.tobytes()


@pytest.mark.parametrize(("name", "codec", "rate"), ENCODED)
def test_encoded_formats_have_the_same_audio(tmp_path, name, codec, rate):
    path = encode(tmp_path / name, codec, tone(3.0, rate), rate)
    audio = read_audio(path)
    assert abs(audio.seconds - 3.0) < 0.1
    assert similarity(audio.samples, tone(3.0)) > 0.97


def test_format_is_detected_from_content_not_name(tmp_path):
    for wrong in ("clip.raw", "clip.mp4", "clip.txt", "clip"):
        path = tmp_path / wrong
        path.write_bytes(wav(b"\1\2" * 800))
        assert read_audio(path).samples.size == 800


def test_audio_of_a_video_is_read(tmp_path):
    path = film(tmp_path / "film.mp4", tone(1.0))
    assert similarity(read_audio(path).samples, tone(1.0)) > 0.97


@pytest.mark.parametrize("channels", [2, 6, 8])
def test_channels_are_mixed_to_their_mean(tmp_path, channels):
    frames = np.stack([noise(1.0, seed=seed) for seed in range(channels)], axis=1)
    path = tmp_path / "clip.wav"
    soundfile.write(path, frames, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(
        read_audio(path).samples, frames.mean(axis=1, dtype=np.float64).astype(np.float32)
    )


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_in_blocks_equals_one_shot(tmp_path, rate):
    sound = noise(3.3, rate)
    path = tmp_path / "clip.wav"
    soundfile.write(path, sound, rate, subtype="FLOAT")
    audio = read_audio(path)
    expected = soxr.resample(sound, rate, 16_000)
    assert audio.samples.size == expected.size
    np.testing.assert_allclose(audio.samples, expected, atol=2e-7)


def test_sample_rates_give_the_same_audio(tmp_path):
    for rate in (8_000, 48_000):
        path = tmp_path / f"{rate}.flac"
        soundfile.write(path, tone(1.0, rate), rate)
        np.testing.assert_allclose(
            read_audio(path).samples[800:-800], tone(1.0)[800:-800], atol=1e-3
        )


def test_streams_are_read_from_their_position():
    content = wav(noise(0.5).astype("<f4").tobytes(), bits=32, tag=3)
    stream = io.BytesIO(b"left behind" + content)
    stream.seek(len(b"left behind"))
    np.testing.assert_array_equal(read_audio(stream).samples, noise(0.5))
    assert not stream.closed


@pytest.mark.parametrize("name", ["clip.m4a", "clip.flac", "clip.mp3"])
def test_pipe_equals_file(tmp_path, name):
    path = tmp_path / name
    if name.endswith("m4a"):
        encode(path, "aac", tone(), 44_100)
    else:
        soundfile.write(path, tone(), 16_000)
    descriptor, writer = os.pipe()
    feeder = threading.Thread(
        target=lambda: (os.write(writer, path.read_bytes()), os.close(writer))
    )
    feeder.start()
    with os.fdopen(descriptor, "rb") as pipe:
        np.testing.assert_array_equal(read_audio(pipe).samples, read_audio(path).samples)
    feeder.join()


def test_named_pipe(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    feeder = threading.Thread(target=lambda: path.write_bytes(wav()))
    feeder.start()
    assert read_audio(path).samples.size == 1000
    feeder.join()


def test_large_stream_is_spooled_to_a_file(tmp_path):
    sound = noise(700.0)
    stream = io.BytesIO(wav(sound.tobytes(), bits=32, tag=3))
    assert len(stream.getbuffer()) > 32 * 2**20
    np.testing.assert_array_equal(read_audio(stream).samples, sound)


@pytest.mark.parametrize("claims", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_wav_of_unknown_length_is_read_to_its_end(claims, tmp_path):
    path = tmp_path / "live.wav"
    path.write_bytes(wav(claims=claims))
    assert read_audio(path).samples.size == 1000


def test_long_audio_is_a_read_only_map_of_an_unnamed_file(tmp_path):
    sound = (np.round(noise(660.0) * 32768) / 32768).astype(np.float32)
    path = tmp_path / "long.wav"
    soundfile.write(path, sound, 16_000)
    code = f"""
import os, pathlib
import numpy as np
from mms_engine.audio import read_audio
from mms_engine.audio.read import from_pcm
before = os.listdir({str(tmp_path)!r})
audio = read_audio(pathlib.Path({str(path)!r}))
assert isinstance(audio.samples, np.memmap), type(audio.samples)
assert not audio.samples.flags.writeable
assert os.listdir({str(tmp_path)!r}) == before
np.save({str(tmp_path / "samples.npy")!r}, audio.samples)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy"), sound)


def test_reading_at_16_khz_does_not_import_the_resampler(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(wav())
    code = f"""
import pathlib, sys
import mms_engine.audio
assert not {{"av", "soxr"}} & set(sys.modules), "imported too early"
mms_engine.audio.read_audio(pathlib.Path({str(path)!r}))
assert "soxr" not in sys.modules, "imported without need"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
