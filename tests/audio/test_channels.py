"""Recordings of many channels, and long pauses of several channels."""

import time
from fractions import Fraction

import av
import numpy as np
import pytest

from mms_engine.audio import read_audio

LAYOUTS = {6: "5.1", 8: "7.1"}
RATE = 48_000


def tones(channels, seconds=1.0):
    """Return a tone for each channel, from 200 Hz on in steps of 100 Hz, float32[N, channels]."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * (200 + 100 * np.arange(channels)) * times[:, None])).astype(
        "f4"
    )


def write(path, codec, samples, move=lambda pts: pts):
    """Write samples; `move` maps the time stamps of the packets, in samples."""
    channels = samples.shape[1]
    with av.open(str(path), "w") as output:
        layout = LAYOUTS.get(channels, f"{channels} channels")
        stream = output.add_stream(codec, rate=RATE, layout=layout)
        context = stream.codec_context
        context.open()
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        size = context.frame_size or 1024
        resampler = av.AudioResampler(context.format, context.layout, RATE, frame_size=size)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(piece):
                packet.pts = packet.dts = move(packet.pts)
                output.mux(packet)
    return path


@pytest.mark.parametrize(
    ("codec", "channels", "name"),
    [
        ("aac", 6, "a.m4a"),
        ("aac", 8, "a.m4a"),
        ("libopus", 8, "a.mka"),
        ("wavpack", 8, "a.wv"),
        ("wavpack", 16, "a.wv"),
        ("wavpack", 24, "a.wv"),
        ("flac", 8, "a.flac"),
    ],
)
def test_each_of_many_channels_is_read(tmp_path, codec, channels, name):
    path = write(tmp_path / name, codec, tones(channels))
    for channel in range(1, channels + 1):
        samples = read_audio(path, channel=channel).samples[4000:12_000]
        strongest = np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples)
        is_bass = codec == "aac" and channel == 4  # its encoder cuts the low-frequency channel
        assert is_bass or strongest == 100 + 100 * channel


def test_long_pause_of_several_channels_takes_little_time(tmp_path):
    """An hour between two halves of a second: a file of a few kilobytes."""
    pause = 3600 * RATE
    path = write(
        tmp_path / "a.mka", "libopus", tones(8), lambda pts: pts + pause * (pts > RATE // 2)
    )
    before = time.process_time()
    audio = read_audio(path)
    assert time.process_time() - before < 6.0
    assert audio.seconds == pytest.approx(3601, abs=0.1)
    loud = np.flatnonzero(np.abs(audio.samples) > 0.05) / 16_000
    middle = loud[(loud > 0.6) & (loud < 3600.4)]
    assert middle.size == 0
    assert loud[loud > 1.0].min() == pytest.approx(3600.5, abs=0.05)
