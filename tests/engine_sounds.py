"""Sounds made for the tests of the engine."""

import numpy as np

RATE = 16_000


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Return noise whose colour and loudness change, so that the random model's tokens do too."""
    random = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    time = np.arange(samples) / RATE
    pieces = -(-samples // 1600)
    pitch = np.repeat(random.uniform(80, 4000, pieces), 1600)[:samples]
    loudness = np.repeat(random.uniform(0.05, 0.8, pieces), 1600)[:samples]
    mixed = np.sin(2 * np.pi * pitch * time) + random.normal(size=samples)
    return (0.2 * loudness * mixed).astype(np.float32)
