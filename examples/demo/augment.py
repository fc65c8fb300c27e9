"""Variety for few speakers: speed, room, microphone, telephone band, noise and coding, in NumPy.

All linear effects of a clip are one product in the frequency domain, so a second of audio costs
about a millisecond.
"""

import math

import numpy as np
from examples.demo.model import HOP, MELS, RECEPTIVE_FIELD
from examples.demo.prepare import SAMPLE_RATE
from numpy.typing import NDArray

Audio = NDArray[np.float32]
_FFT_SIZE = 512


def augment(audio: Audio, rng: np.random.Generator, other: Audio, strength: float = 1) -> Audio:
    """Return a varied copy of `audio` (samples,).

    `other` is speech to mix in faintly as babble; `strength` scales the odds of each effect.
    """
    return change_sound(change_timing(audio, rng, strength), rng, other, strength)


def change_timing(audio: Audio, rng: np.random.Generator, strength: float) -> Audio:
    """Return audio at another speed, between pauses of random lengths."""
    if rng.random() < 0.8 * strength:
        audio = change_speed(audio, float(np.exp(rng.uniform(-0.17, 0.17))))
    # Long pauses now and then: a pause is no letter.
    longest = np.where(rng.random(2) < 0.2, 1.0, 0.2)
    lead, tail = rng.uniform(0, longest) * SAMPLE_RATE
    return np.pad(audio, (int(lead), int(tail)))


def change_sound(audio: Audio, rng: np.random.Generator, other: Audio, strength: float) -> Audio:
    """Return audio of the same length from another microphone, in another room, with noise."""
    if rng.random() < 0.8 * strength:
        audio = colour(audio, rng)
    level = float(np.sqrt(np.mean(audio**2))) + 1e-5
    if rng.random() < 0.1 * strength:
        babble = np.resize(other, len(audio))
        ratio = level / (float(np.sqrt(np.mean(babble**2))) + 1e-5)
        audio = audio + babble * ratio * decibels(-rng.uniform(10, 25))
    if rng.random() < 0.4 * strength:
        audio = audio + coloured_noise(len(audio), rng) * level * decibels(-rng.uniform(10, 40))
    if rng.random() < 0.1 * strength:
        audio = companded(audio / (np.abs(audio).max() + 1e-5))
    return audio.astype(np.float32)


def fast_size(count: int) -> int:
    """The next size whose factors are small; a transform of a prime size takes ten times longer."""
    return -(-count // 8192) * 8192


def decibels(value: float) -> float:
    """Amplitude factor of a level in dB."""
    return float(10 ** (value / 20))


def change_speed(audio: Audio, factor: float) -> Audio:
    """Play `factor` times as fast; pitch and formants move along, as with another speaker."""
    count = max(int(len(audio) / factor), RECEPTIVE_FIELD)
    positions = np.linspace(0, len(audio) - 1, count)
    left = np.minimum(positions.astype(np.int64), len(audio) - 2)
    fraction = (positions - left).astype(np.float32)
    between: Audio = audio[left] * (1 - fraction) + audio[left + 1] * fraction
    return between


def colour(audio: Audio, rng: np.random.Generator) -> Audio:
    """Filter by a random microphone, telephone band, missing band and room."""
    size = fast_size(len(audio) + SAMPLE_RATE // 2)
    spectrum = np.fft.rfft(audio, size)
    hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum), dtype=np.float32)
    knots = np.array([0, 200, 500, 1000, 2000, 3500, 5500, 8000])
    gain = np.interp(hertz, knots, rng.normal(0, 3.5, size=len(knots)))
    if rng.random() < 0.35:
        low, high = rng.uniform(150, 350), rng.uniform(3200, 3900)
        outside = np.maximum(low - hertz, 0) / 4 + np.maximum(hertz - high, 0) / 6
        gain = gain - np.minimum(outside, 60)
    elif rng.random() < 0.4:
        centre, width = rng.uniform(200, 6000), rng.uniform(150, 500)
        gain = np.where(np.abs(hertz - centre) < width, -40, gain)
    spectrum = spectrum * (10 ** (gain / 20)).astype(np.float32)
    if rng.random() < 0.4:
        spectrum = spectrum * np.fft.rfft(room_response(rng), size)
    return np.fft.irfft(spectrum, size)[: len(audio)].astype(np.float32)


def room_response(rng: np.random.Generator) -> Audio:
    """A direct sound and exponentially decaying noise, (samples,)."""
    decay = rng.uniform(0.08, 0.45)  # seconds to fall by 60 dB
    seconds = np.arange(int(min(decay, 0.45) * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / decay)
    response *= rng.uniform(0.2, 0.9) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return response.astype(np.float32)


def coloured_noise(count: int, rng: np.random.Generator) -> Audio:
    """Noise of unit power with a random spectral slope, (samples,)."""
    size = fast_size(count)
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    slope = np.arange(1, len(spectrum) + 1, dtype=np.float32) ** np.float32(-rng.uniform(0, 1))
    noise = np.fft.irfft(spectrum * slope, size)[:count]
    scaled: Audio = (noise / (noise.std() + 1e-9)).astype(np.float32)
    return scaled


def companded(audio: Audio) -> Audio:
    """Round to eight bits by the mu-law of telephone lines; input within [-1, 1]."""
    curve = np.round(127 * np.log1p(255 * np.abs(audio)) / math.log(256)) / 127
    expanded: Audio = np.sign(audio) * (np.power(256, curve) - 1) / 255
    return expanded.astype(np.float32)


def normalise_audio(audio: Audio) -> Audio:
    """Zero mean and unit variance over the utterance, as the MMS feature extractor does."""
    normalised: Audio = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
    return normalised.astype(np.float32)


def _mel_filters() -> Audio:
    """Triangular filters [bins, mels] from 60 Hz to 7.8 kHz."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (60, 7800))
    mel = np.linspace(lowest, highest, MELS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.linspace(0, SAMPLE_RATE / 2, _FFT_SIZE // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: Audio = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters


_FILTERS = _mel_filters()
_WINDOW = np.hanning(RECEPTIVE_FIELD).astype(np.float32)


def log_mels(audio: Audio) -> Audio:
    """Log-mel frames [frames, mels] on the model's grid, standardised over the utterance."""
    windows = np.lib.stride_tricks.sliding_window_view(audio, RECEPTIVE_FIELD)[::HOP]
    power = np.abs(np.fft.rfft(windows * _WINDOW, _FFT_SIZE)) ** 2
    mels = np.log(power.astype(np.float32) @ _FILTERS + 1e-3)
    standard: Audio = ((mels - mels.mean()) / (mels.std() + 1e-5)).astype(np.float32)
    return standard
