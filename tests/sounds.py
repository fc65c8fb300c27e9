"""Sound files made on the spot, good and bad."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from mms_engine.audio import read_audio
from mms_engine.errors import AudioError


def tone(seconds=3.0, rate=16_000, hertz=440.0, amplitude=0.3):
    """Return a sine, float32[N]."""
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(seconds=3.0, rate=16_000, seed=0):
    """Return white noise, float32[N]."""
    generator = np.random.default_rng(seed)
    return (0.1 * generator.standard_normal(round(seconds * rate))).astype(np.float32)


def wav(data=b"\0\0" * 1000, *, rate=16_000, channels=1, bits=16, tag=1, claims=None):
    """Return a WAV file, whose header may lie.

    `claims` is the number of bytes of sound that the header declares.
    """
    size = len(data) if claims is None else claims
    block = channels * bits // 8
    header = struct.pack("<4sI4s4sI", b"RIFF", min(36 + size, 0xFFFFFFFF), b"WAVE", b"fmt ", 16)
    form = struct.pack(
        "<HHIIHH", tag, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    return header + form + struct.pack("<4sI", b"data", size) + data


def encode(path: Path, codec: str, samples, rate: int, *, layout="mono", container=None, **options):
    """Write a file with FFmpeg. `samples` is float32[N], the same for each channel."""
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout, options=options)
        for piece in _pieces(samples, rate, stream.codec_context, layout):
            output.mux(stream.encode(piece))
    return path


def _pieces(samples, rate, context, layout):
    planes = np.tile(samples, (context.channels, 1))
    frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
    frame.sample_rate = rate
    resampler = av.AudioResampler(
        format=context.format, layout=layout, rate=rate, frame_size=context.frame_size or 1024
    )
    return [*resampler.resample(frame), *resampler.resample(None), None]


def film(path: Path, samples=None):
    """Write a second of black video, with sound at 16 kHz or without."""
    with av.open(str(path), "w") as output:
        picture = output.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        voice = None if samples is None else output.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            output.mux(picture.encode(frame))
        output.mux(picture.encode(None))
        if voice is not None:
            for piece in _pieces(samples, 16_000, voice.codec_context, "mono"):
                output.mux(voice.encode(piece))
    return path


def refusal(path, **options):
    """Return why `path` is not read, with FILE for its name."""
    with pytest.raises(AudioError) as caught:
        read_audio(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message.replace(str(path), "FILE")
