"""Limits are enforced during decoding, in bounded memory."""

import io
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mms_engine.audio import AudioLimits, read_audio
from mms_engine.errors import AudioError
from sounds import encode, noise, refusal, wav


def test_limit_of_seconds(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(3.0), 16_000)
    assert refusal(path, limits=AudioLimits(max_seconds=2.5)) == (
        "FILE is longer than 2.5 s, the limit: split it, or raise the limit "
        "(AudioLimits.max_seconds, --max-seconds)"
    )
    read_audio(path, limits=AudioLimits(max_seconds=3.0))


def test_limit_of_bytes_is_one_of_streams(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav())
    size = path.stat().st_size
    with pytest.raises(AudioError) as caught:
        read_audio(io.BytesIO(path.read_bytes()), limits=AudioLimits(max_bytes=size - 1))
    assert str(caught.value) == (
        f"the stream has more than {size - 1} bytes, the limit of a stream: save it as a file, or "
        "raise the limit (AudioLimits.max_bytes, --max-bytes)"
    )
    read_audio(io.BytesIO(path.read_bytes()), limits=AudioLimits(max_bytes=size))
    read_audio(path, limits=AudioLimits(max_bytes=1))


def test_limit_of_bytes_ends_an_endless_stream():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            self.given += size
            return b"\0" * size

    endless = Endless()
    with pytest.raises(AudioError, match="more than 3000000 bytes"):
        read_audio(endless, limits=AudioLimits(max_bytes=3_000_000))
    assert endless.given < 6_000_000


def test_limit_of_channels(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((100, 8)), 16_000)
    assert read_audio(path, limits=AudioLimits(max_channels=8)).samples.size == 100
    message = refusal(path, limits=AudioLimits(max_channels=7))
    assert message.startswith("FILE has 8 channels, the limit is 7: extract the channels")


@pytest.mark.parametrize("name", ["max_seconds", "max_bytes", "max_channels"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_are_positive(name, value):
    with pytest.raises(ValueError, match=f"AudioLimits.{name} must be positive, got"):
        AudioLimits(**{name: value})


def peak_memory(path, limits):
    """Read `path` in a subprocess; return its message and the growth of its peak memory."""
    code = f"""
import pathlib
from mms_engine.audio import AudioLimits, read_audio
from mms_engine.errors import AudioError
from peak_memory import begin_peak, peak_bytes
import soundfile, av
before = begin_peak()
try:
    read_audio(pathlib.Path({str(path)!r}), limits={limits!r})
except AudioError as error:
    print(error)
print(peak_bytes() - before)
"""
    output = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    ).stdout.splitlines()
    return output[0], int(output[1])


def test_small_file_of_hours_stops_at_the_limit_in_bounded_memory(tmp_path):
    options = {"write_xing": "0", "id3v2_version": "0", "b": "8000"}
    short = encode(tmp_path / "short.mp3", "libmp3lame", noise(20.0) * 0, 16_000, **options)
    path = tmp_path / "hours.mp3"
    content = short.read_bytes()
    path.write_bytes(content * (25_000_000 // len(content)))
    message, memory = peak_memory(path, AudioLimits(max_seconds=1800))
    assert message.startswith(f"{path} is longer than 1800 s, the limit")
    assert memory < 80e6  # half an hour takes 115 MB


def test_declared_length_allocates_no_memory(tmp_path):
    path = tmp_path / "liar.wav"
    path.write_bytes(wav(b"\0" * 1000, claims=0x7FFF0000 - 100))
    message, memory = peak_memory(path, AudioLimits())
    assert "is truncated after 0.03 s" in message
    assert memory < 30e6


def test_no_space_for_the_temporary_file(tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(wav(b"\0" * 32_000 * 601))
    code = f"""
import pathlib, resource
from mms_engine.audio import read_audio
from mms_engine.errors import AudioError
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    read_audio(pathlib.Path({str(path)!r}))
except AudioError as error:
    print(error)
"""
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert output.stdout == (
        f"{path}: cannot write a temporary file in {tempfile.gettempdir()}: File too large. "
        "Free some space, or set TMPDIR to a folder that has more\n"
    )


def test_declared_chunk_size_allocates_no_memory(tmp_path):
    path = tmp_path / "fmt.wav"
    path.write_bytes(
        struct.pack("<4sI4s4sI", b"RIFF", 100, b"WAVE", b"fmt ", 0x7FFFFFF0) + b"\0" * 50
    )
    _, memory = peak_memory(path, AudioLimits())
    assert memory < 30e6
