"""Copies of the training recordings through the WORLD vocoder: the timbre of parametric voices.

    python -m examples.demo.vocode

Needs pyworld. Unlike those of `vary`, formants and pitch move independently, and most copies are as
smooth, flat or buzzing as a statistical synthesiser. Writes one set of clips for each language.
"""

import dataclasses
import zlib
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pyworld  # type: ignore[import-untyped]
from examples.demo.batches import ClipStore
from examples.demo.prepare import CACHE, SAMPLE_RATE, Clip, report, write_manifest
from examples.demo.text import LANGUAGES
from numpy.typing import NDArray

Array = NDArray[np.float64]
WARPS = (0.84, 0.92, 1.09, 1.18)  # factor of the formants' frequencies, one copy each
LOUDEST = 0.9  # a copy whose peak is higher is made quieter


def warped(spectrum: Array, factor: float) -> Array:
    """Move frames [frames, bins] up in frequency by `factor`, interpolating the logarithm."""
    last = spectrum.shape[1] - 1
    positions = np.minimum(np.arange(last + 1) / factor, last)
    left = np.minimum(positions.astype(np.int64), last - 1)
    logs, fraction = np.log(spectrum), positions - left
    moved = np.exp(logs[:, left] * (1 - fraction) + logs[:, left + 1] * fraction)
    return np.ascontiguousarray(moved)  # as WORLD demands


def smoothed(envelope: Array, rng: np.random.Generator) -> Array:
    """The envelope by few mel-cepstral coefficients, averaged over up to 25 ms."""
    coded = pyworld.code_spectral_envelope(envelope, SAMPLE_RATE, int(rng.integers(24, 45)))
    width = int(rng.choice([1, 3, 5]))
    padded = np.pad(coded, ((width // 2, width // 2), (0, 0)), mode="edge")
    averaged = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0).mean(-1)
    size = 2 * (envelope.shape[1] - 1)
    contiguous = np.ascontiguousarray(averaged)
    decoded: Array = pyworld.decode_spectral_envelope(contiguous, SAMPLE_RATE, size)
    return decoded


def moved_pitch(pitch: Array, rng: np.random.Generator) -> Array:
    """Frames in Hz (0: unvoiced) of a higher or lower voice, at times with flat intonation."""
    pitch = pitch * np.exp(rng.uniform(np.log(0.7), np.log(1.5)))
    voiced = pitch > 0
    if voiced.any() and rng.random() < 0.4:
        pitch[voiced] = (pitch[voiced] + pitch[voiced].mean()) / 2
    return pitch


def copies(audio: Array, rng: np.random.Generator) -> Iterator[NDArray[np.int16]]:
    """One copy for each of `WARPS`, as long as `audio` (samples,) and as loud."""
    rough, times = pyworld.dio(audio, SAMPLE_RATE, f0_ceil=500.0)
    pitch = pyworld.stonemask(audio, rough, times, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(audio, pitch, times, SAMPLE_RATE)
    aperiodicity = pyworld.d4c(audio, pitch, times, SAMPLE_RATE)
    for warp in WARPS:
        spoken = moved_pitch(pitch, rng)
        buzz = warped(aperiodicity, warp) * rng.choice([1.0, 0.6, 0.3])
        formants = warped(envelope, warp)
        if rng.random() < 0.7:
            formants = smoothed(formants, rng)
        copy = pyworld.synthesize(spoken, formants, buzz, SAMPLE_RATE)
        copy = np.pad(copy, (0, max(len(audio) - len(copy), 0)))[: len(audio)]
        gain = np.sqrt(np.mean(audio**2)) / (np.sqrt(np.mean(copy**2)) + 1e-9)
        gain = min(gain, LOUDEST / (np.abs(copy).max() + 1e-9))
        yield np.asarray(copy * gain * 32767).astype(np.int16)


def vocode(store: ClipStore, lang: str, cache: Path) -> list[Clip]:
    """Write the vocoded copies of a language's training recordings; return their clips."""
    clips: list[Clip] = []
    offset = 0
    scratch = cache / f"vocoded-{lang}.pcm.tmp"
    with scratch.open("wb") as pcm_file:
        for index in store.select("real", "train", lang):
            clip = store.clips[index]
            rng = np.random.default_rng(zlib.crc32(clip.path.encode()))
            audio = store.audio(index).astype(np.float64)
            for warp, pcm in zip(WARPS, copies(audio, rng), strict=True):
                voice = f"{clip.voice}x{warp}"
                clips.append(dataclasses.replace(clip, voice=voice, kind="varied", offset=offset))
                pcm_file.write(pcm.tobytes())
                offset += len(pcm)
    scratch.replace(cache / f"vocoded-{lang}.pcm")
    write_manifest(cache / f"vocoded-{lang}.tsv", clips)
    return clips


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
def main(cache: Path) -> None:
    """Write the vocoded copies of all languages that the cache folder does not hold yet."""
    store = ClipStore(cache)
    for lang in LANGUAGES:
        if not (cache / f"vocoded-{lang}.tsv").exists():
            report(vocode(store, lang, cache))


if __name__ == "__main__":
    main()
