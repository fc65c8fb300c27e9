"""Sounds with syllables in three bands, which a small model can tell apart."""

import numpy as np

RATE = 16_000
LOW, HIGH, MIDDLE = 300.0, 2400.0, 900.0
LOW_AND_HIGH = (LOW, HIGH, MIDDLE)
"""Centres in Hz of the bands of eng, swh and fra."""


def voice(seconds: float, pitch: float, seed: int = 0) -> np.ndarray:
    """Return syllables of 0.15 to 0.3 s with short gaps, in a band around `pitch` Hz."""
    random = np.random.default_rng(seed)
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(random.normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    band = np.fft.irfft(spectrum * np.exp(-(((hertz - pitch) / (0.3 * pitch)) ** 2)), count)
    shape = np.zeros(count)
    start = 0
    while start < count:
        length = int(random.uniform(0.15, 0.3) * RATE)
        shape[start : start + length] = random.uniform(0.4, 1.0)
        start += length + int(random.uniform(0.03, 0.08) * RATE)
    loud = 0.2 * shape * band / band.std()
    return (loud + random.normal(0, 3e-4, count)).astype(np.float32)


def pause(seconds: float) -> np.ndarray:
    """Return faint noise."""
    return np.random.default_rng(7).normal(0, 3e-4, round(seconds * RATE)).astype(np.float32)
