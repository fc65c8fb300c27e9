"""Recordings: sources whose samples are read in pieces, any number of times."""

import io
import os
import threading

import numpy as np
import pytest
import soundfile

from mms_engine.audio import AudioLimits, read_audio
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.sources import Recording
from mms_engine.errors import AudioError
from mms_engine.types import Audio
from sounds import noise

RATE = 16_000


def samples_of(recording):
    return np.concatenate(list(recording))


@pytest.mark.parametrize("kind", ["path", "str", "stream", "audio", "array", "fifo"])
def test_every_pass_yields_the_same_samples(tmp_path, kind):
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise(3.0), RATE, subtype="FLOAT")
    expected = read_audio(path)
    source = {
        "path": path,
        "str": str(path),
        "stream": io.BytesIO(path.read_bytes()),
        "audio": expected,
        "array": expected.samples,
        "fifo": tmp_path / "fifo",
    }[kind]
    if kind == "fifo":
        os.mkfifo(source)
        content = path.read_bytes()
        threading.Thread(target=lambda: source.write_bytes(content), daemon=True).start()
    recording = Recording(source, RATE, options=ReadOptions())
    for _ in range(3):
        np.testing.assert_array_equal(samples_of(recording), expected.samples)
    assert recording.seconds == expected.seconds


def test_missing_spans_are_listed_once(tmp_path):
    samples = noise(2.0)
    samples[8000:8160] = np.nan
    path = tmp_path / "damaged.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    recording = Recording(path, RATE, options=ReadOptions(allow_truncated=True))
    for _ in range(2):
        samples_of(recording)
        assert [(span.start, span.end) for span in recording.missing] == [(0.5, 0.51)]
        assert len(recording.warnings) == 1
    whole = Recording(
        Audio(noise(1.0), RATE, recording.missing, ("a remark",)), RATE, options=ReadOptions()
    )
    samples_of(whole)
    assert (whole.missing, whole.warnings) == (recording.missing, ("a remark",))


def test_limits_and_errors_are_those_of_reading(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise(3.0), RATE)
    limits = ReadOptions(limits=AudioLimits(max_seconds=1.0))
    with pytest.raises(AudioError, match="longer than 1 s"):
        samples_of(Recording(path, RATE, options=limits))
    with pytest.raises(AudioError):
        samples_of(Recording(tmp_path / "missing.wav", RATE, options=ReadOptions()))
