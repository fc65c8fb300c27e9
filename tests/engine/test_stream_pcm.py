"""PCM input of a stream: sample formats, bytes cut anywhere, a resampler with state."""

import io
import itertools

import av
import numpy as np
import pytest
import soxr

from mms_engine.asr.streaming.pcm import PcmReader, Resampler
from mms_engine.errors import AudioError

TARGET = 16_000


@pytest.mark.parametrize("law", ["mulaw", "alaw"])
def test_companded_samples_equal_ffmpeg_for_every_byte(law: str) -> None:
    codec = av.CodecContext.create(f"pcm_{law}", "r")
    codec.sample_rate, codec.layout = 8000, "mono"
    (frame,) = codec.decode(av.Packet(bytes(range(256))))
    expected = frame.to_ndarray().reshape(-1).astype(np.float32) / 2**15
    np.testing.assert_array_equal(PcmReader(law).read(bytes(range(256))), expected)


@pytest.mark.parametrize(("name", "dtype"), [("f32le", "<f4"), ("s16le", "<i2"), ("mulaw", "u1")])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_bytes_may_be_cut_inside_samples(name: str, dtype: str, size: int) -> None:
    random = np.random.default_rng(0)
    sound = random.normal(0, 0.1, 100) if dtype == "<f4" else random.integers(0, 255, 100)
    content = sound.astype(dtype).tobytes()
    whole = PcmReader(name).read(content)
    assert whole.dtype == np.float32
    assert len(whole) == 100
    reader, source = PcmReader(name), io.BytesIO(content)
    pieces = [reader.read(piece) for piece in iter(lambda: source.read(size), b"")]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert reader.rest == b""


def test_int16_is_scaled_to_full_scale_one() -> None:
    found = PcmReader("f32le").read(np.array([-32768, 0, 16384, 32767], np.int16))
    np.testing.assert_array_equal(found, np.float32([-1, 0, 0.5, 32767 / 32768]))


def test_refused_input_keeps_the_incomplete_sample() -> None:
    reader, content = PcmReader("f32le"), np.array([1, np.nan], "<f4").tobytes()
    reader.read(content[:2])
    with pytest.raises(AudioError, match="first at sample 1"):
        reader.read(content[2:])
    with pytest.raises(AudioError, match="follows 2 bytes of an incomplete sample"):
        reader.read(np.zeros(1, np.int16))
    np.testing.assert_array_equal(reader.read(content[2:4]), np.float32([1]))


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 22_050, 44_100, 48_000, 16_001, 192_000])
@pytest.mark.parametrize("milliseconds", [10, 370, 1900])
def test_resampler_restored_from_its_state_continues_exactly(rate: int, milliseconds: int) -> None:
    time = np.arange(3 * rate) / rate
    sound = (0.3 * np.sin(2 * np.pi * 137 * time) + 0.2 * np.sin(2 * np.pi * 411 * time)).astype(
        np.float32
    )
    expected = soxr.resample(sound, rate, TARGET)
    size = max(1, rate * milliseconds // 1000 + 3)
    resampler, pieces = Resampler(rate, TARGET), []
    for start in itertools.takewhile(lambda at: at < len(sound), itertools.count(0, size)):
        pieces.append(resampler.convert(sound[start : start + size]))
        if (start // size) % 3 == 0:
            resampler = Resampler.restored(resampler.state(), TARGET)
    pieces.append(resampler.convert(np.zeros(0, np.float32), last=True))
    found = np.concatenate(pieces)
    assert abs(len(found) - len(expected)) <= 1
    length = min(len(found), len(expected))
    np.testing.assert_allclose(found[:length], expected[:length], atol=2e-4)


def test_resampler_passes_the_target_rate_through() -> None:
    sound = np.arange(5, dtype=np.float32)
    assert Resampler(TARGET, TARGET).convert(sound) is sound
    restored = Resampler.restored(Resampler(TARGET, TARGET).state(), TARGET)
    np.testing.assert_array_equal(restored.convert(sound), sound)
