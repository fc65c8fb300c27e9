"""Sounds that are no speech: silence, noise and music, made in NumPy or recorded.

    python -m examples.demo.lid.sounds

Decodes the music on hold of Debian's `asterisk-moh-opsound-g722` to the cache folder.
"""

import logging
import subprocess
from pathlib import Path

import click
import numpy as np
from examples.demo.augment import coloured_noise, decibels, fast_size
from examples.demo.prepare import CACHE, SAMPLE_RATE, decode
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Audio = NDArray[np.float32]
PACKAGE = "asterisk-moh-opsound-g722"
HELD_OUT_MUSIC = ("macroform-robot_dity", "reno_project-system")  # never trained on
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10))


def silence(count: int, rng: np.random.Generator) -> Audio:
    """Nothing, an offset, the rounding of 16 bits, or clicks far apart, (samples,)."""
    audio = np.full(count, rng.uniform(-0.1, 0.1) * (rng.random() < 0.3), np.float32)
    if rng.random() < 0.7:
        audio += rng.integers(-1, 2, count) * np.float32(2.0**-15)
    for place in rng.integers(0, count, rng.integers(0, 5)):
        audio[place : place + 20] += np.float32(rng.normal(0, 0.1))
    return audio


def noise(count: int, rng: np.random.Generator) -> Audio:
    """Noise of a random colour, steady, swelling, in bursts, or with hum, (samples,)."""
    audio = coloured_noise(count, rng) * np.float32(0.1)
    if rng.random() < 0.3:  # a band, as of wind or an engine
        spectrum = np.fft.rfft(audio, fast_size(count))
        hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
        centre, width = np.exp(rng.uniform(np.log(80), np.log(6000))), rng.uniform(30, 1500)
        spectrum *= np.exp(-(((hertz - centre) / width) ** 2)) + 0.003
        audio = np.fft.irfft(spectrum)[:count].astype(np.float32)
    shape = rng.random()
    seconds = np.arange(count) / SAMPLE_RATE
    if shape < 0.3:
        audio *= _envelope(count, rng)
    elif shape < 0.45:
        audio *= (np.sin(2 * np.pi * rng.uniform(0.3, 9) * seconds + rng.uniform(0, 6)) + 1.05) / 2
    elif shape < 0.6:
        audio *= decibels(-40) + _bursts(count, rng)
    if rng.random() < 0.25:
        audio += _tones(count, rng) * np.float32(rng.uniform(0.02, 0.3))
    return audio.astype(np.float32)


def tones(count: int, rng: np.random.Generator) -> Audio:
    """Steady or interrupted tones: hum, dial and busy tones, beeps, sweeps, (samples,)."""
    audio = _tones(count, rng) * np.float32(0.2)
    if rng.random() < 0.6:
        period, share = rng.uniform(0.1, 1.5), rng.uniform(0.2, 0.8)
        audio *= (np.arange(count) / SAMPLE_RATE / period) % 1 < share
    return audio + coloured_noise(count, rng) * np.float32(0.2 * decibels(-rng.uniform(15, 60)))


def music(count: int, rng: np.random.Generator) -> Audio:
    """Chords, a melody and drums of random instruments in a random scale, (samples,)."""
    scale = _SCALES[rng.integers(len(_SCALES))]
    root, beat = rng.uniform(80, 200), 60 / rng.uniform(60, 180)
    audio = np.zeros(count, np.float32)
    parts = rng.integers(1, 4)
    for part in range(parts):
        instrument = _Instrument(rng)
        octave = 2 ** rng.integers(0, 4)
        length = beat * float(rng.choice([0.25, 0.5, 1.0, 2.0]))
        level = decibels(-rng.uniform(0, 12))
        for start in np.arange(0, count / SAMPLE_RATE, length):
            if rng.random() < 0.15:
                continue
            degree = int(rng.integers(len(scale)))
            for step in (0, 2, 4) if part == 0 and rng.random() < 0.7 else (0,):
                places = degree + step
                semitones = scale[places % len(scale)] + 12 * (places // len(scale))
                hertz = root * octave * 2 ** (semitones / 12)
                tone = instrument.note(hertz, length * rng.uniform(0.7, 1.3), rng)
                begin = int(start * SAMPLE_RATE)
                tone = tone[: count - begin]
                audio[begin : begin + len(tone)] += level * tone
    if rng.random() < 0.6:
        audio += _drums(count, beat, rng)
    return audio / np.float32(np.abs(audio).max() + 1e-6) * np.float32(0.3)


class _Instrument:
    """Harmonics, attack and decay of an instrument; some have vibrato."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.harmonics = rng.uniform(0.2, 1, 10) * np.arange(1, 11) ** -rng.uniform(0.3, 2.5)
        if rng.random() < 0.3:
            self.harmonics[1::2] *= 0.1
        self.attack, self.decay = rng.uniform(0.002, 0.08), np.exp(rng.uniform(-2.5, 1.5))
        self.vibrato = rng.uniform(0, 0.02) if rng.random() < 0.4 else 0.0
        self.stretch = 1 + rng.uniform(0, 0.002)

    def note(self, hertz: float, seconds: float, rng: np.random.Generator) -> Audio:
        """Samples of one note."""
        time = np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
        phase = 2 * np.pi * hertz * time
        if self.vibrato:
            phase = phase + self.vibrato * hertz / 5 * np.sin(2 * np.pi * 5 * time)
        audio = np.zeros_like(time)
        for number, weight in enumerate(self.harmonics, 1):
            if hertz * number < SAMPLE_RATE / 2:
                start = rng.uniform(0, 2 * np.pi)
                audio += weight * np.sin(phase * number * self.stretch ** (number - 1) + start)
        release = np.minimum(1, (len(time) - np.arange(len(time))) / (0.01 * SAMPLE_RATE))
        envelope = np.minimum(1, time / self.attack) * np.exp(-time / self.decay) * release
        return (audio * envelope).astype(np.float32)


def _drums(count: int, beat: float, rng: np.random.Generator) -> Audio:
    audio = np.zeros(count, np.float32)
    pattern = rng.random(8) < 0.6
    decays = np.exp(rng.uniform(-4.5, -2, 2))
    for number, start in enumerate(np.arange(0, count / SAMPLE_RATE, beat / 2)):
        if not pattern[number % 8]:
            continue
        begin = int(start * SAMPLE_RATE)
        time = np.arange(min(int(0.3 * SAMPLE_RATE), count - begin)) / SAMPLE_RATE
        if number % 2:
            hit = rng.standard_normal(len(time)) * np.exp(-time / decays[0])
        else:
            hit = np.sin(2 * np.pi * 60 * time * np.exp(-3 * time)) * np.exp(-time / decays[1])
        audio[begin : begin + len(time)] += 0.7 * hit
    return audio


def _tones(count: int, rng: np.random.Generator) -> Audio:
    time = np.arange(count) / SAMPLE_RATE
    audio = np.zeros(count)
    for _ in range(rng.integers(1, 4)):
        hertz = np.exp(rng.uniform(np.log(50), np.log(4000)))
        sweep = rng.uniform(-300, 300) if rng.random() < 0.2 else 0.0
        audio += np.sin(2 * np.pi * (hertz * time + sweep * time**2 / 2))
    return audio.astype(np.float32)


def _envelope(count: int, rng: np.random.Generator) -> Audio:
    """Levels that wander between silence and full, (samples,)."""
    knots = 2 + int(count / SAMPLE_RATE * rng.uniform(0.5, 6))
    levels = 10 ** (rng.uniform(-40, 0, knots) / 20)
    return np.interp(np.linspace(0, knots - 1, count), np.arange(knots), levels).astype(np.float32)


def _bursts(count: int, rng: np.random.Generator) -> Audio:
    """Sudden sounds that die away, as of knocks, steps or clapping, (samples,)."""
    audio = np.zeros(count, np.float32)
    for begin in rng.integers(0, count, 1 + int(count / SAMPLE_RATE * rng.uniform(0.5, 6))):
        time = np.arange(min(SAMPLE_RATE, count - begin)) / SAMPLE_RATE
        level = rng.uniform(0.2, 1)
        audio[begin : begin + len(time)] += level * np.exp(-time / np.exp(rng.uniform(-5, -1.5)))
    return audio


KINDS = (silence, noise, noise, tones, music, music)


class Music:
    """Recorded music of the cache folder; without it, music is made."""

    def __init__(self, cache: Path, *, is_held_out: bool = False) -> None:
        self.pieces = [
            np.load(path, mmap_mode="r")
            for path in sorted((cache / "lid").glob("*.npy"))
            if (path.stem in HELD_OUT_MUSIC) == is_held_out
        ]

    def draw(self, count: int, rng: np.random.Generator) -> Audio:
        """A passage from anywhere in any piece, (samples,)."""
        if not self.pieces:
            return music(count, rng)
        piece = self.pieces[rng.integers(len(self.pieces))]
        begin = rng.integers(0, len(piece) - count)
        return np.array(piece[begin : begin + count]).astype(np.float32) / np.float32(32768)


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, show_default=True)
def main(cache: Path) -> None:
    """Fetch and decode the music on hold to the cache folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    debs, root, out = cache / "debs", cache / "packages", cache / "lid"
    for folder in (debs, out):
        folder.mkdir(parents=True, exist_ok=True)
    if not list(debs.glob(f"{PACKAGE}_*.deb")):
        command = ["apt-get", "download", "-o", "APT::Sandbox::User=root", PACKAGE]
        subprocess.run(command, cwd=debs, check=True, stdout=subprocess.DEVNULL)
    deb = next(debs.glob(f"{PACKAGE}_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
    for path in sorted((root / "usr/share/asterisk/moh").glob("*.g722")):
        pcm = decode(path)
        np.save(out / f"{path.stem}.npy", pcm)
        click.echo(f"{path.stem}: {len(pcm) / SAMPLE_RATE:.0f} s")


if __name__ == "__main__":
    main()
