"""Free speech synthesisers behind one interface: sentences in, 16 kHz samples out.

Debian packages: espeak-ng, flite, festival, festvox-kdlpc16k, festvox-italp16k, festvox-itapc16k,
festvox-ru. Python package: py-nanotts (SVOX Pico, Apache 2.0).
"""

import io
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from examples.demo.prepare import SAMPLE_RATE
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
Voice = tuple[str, Pcm | None]  # the voice that spoke, and its samples or None if it failed
Speak = Callable[[list[str], str, np.random.Generator], Iterator[Voice]]

ESPEAK_ACCENTS = {
    "eng": ["en-us"] * 4 + ["en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-029"],
    "spa": ["es", "es-419", "es-419"],
    "fra": ["fr-fr", "fr-fr", "fr-be", "fr-ch"],
    "ita": ["it"],
    "rus": ["ru"],
}
FLITE_VOICES = ("awb", "kal16", "rms", "slt")
FESTIVAL_VOICES = {
    "eng": ("ked_diphone",),
    "ita": ("lp_diphone", "pc_diphone"),
    "rus": ("msu_ru_nsh_clunits",),
}
_ITALIAN = str.maketrans({"à": "a'", "è": "e'", "é": "e'", "ì": "i'", "ò": "o'", "ù": "u'"})


def to_pcm(audio: NDArray[np.float32], rate: int) -> Pcm:
    """Resample to 16 kHz and trim or pad the silence at both ends to at most 0.2 s."""
    audio = soxr.resample(audio, rate, SAMPLE_RATE).astype(np.float32)
    loud = np.flatnonzero(np.abs(audio) > 0.01 * np.abs(audio).max())
    if len(loud) == 0:
        return np.zeros(0, np.int16)
    margin = SAMPLE_RATE // 5
    audio = audio[max(loud[0] - margin, 0) : loud[-1] + margin]
    return np.asarray(audio * (0.5 * 32767 / np.abs(audio).max())).astype(np.int16)


def _read(wav: bytes | Path) -> Pcm | None:
    source = io.BytesIO(wav) if isinstance(wav, bytes) else wav
    try:
        audio, rate = soundfile.read(source, dtype="float32")
    except soundfile.LibsndfileError:
        return None
    return to_pcm(audio, rate) if len(audio) else None


def espeak_variants() -> list[str]:
    """Return the names of the variants that are installed with espeak-ng, sorted."""
    listed = subprocess.run(
        ["espeak-ng", "--voices=variant"], check=True, capture_output=True, text=True
    ).stdout
    return sorted(line.split()[3] for line in listed.splitlines()[1:])


def espeak(texts: list[str], lang: str, rng: np.random.Generator) -> Iterator[Voice]:
    """A random accent, variant, speed and pitch for every sentence."""
    variants = espeak_variants()
    for text in texts:
        voice = f"{rng.choice(ESPEAK_ACCENTS[lang])}+{rng.choice(variants)}"
        speed, pitch = rng.integers(120, 200), rng.integers(20, 80)
        options = ["-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
        wav = subprocess.run(["espeak-ng", *options], check=True, capture_output=True).stdout
        yield f"espeak-{voice}", _read(wav)


def flite(texts: list[str], _: str, rng: np.random.Generator) -> Iterator[Voice]:
    """One of flite's voices for every sentence, faster or slower (English only)."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        for text in texts:
            voice = str(rng.choice(FLITE_VOICES))
            stretch = f"duration_stretch={rng.uniform(0.85, 1.25):.2f}"
            options = ["-voice", voice, "--setf", stretch, "-t", text, "-o", str(wav)]
            subprocess.run(["flite", *options], check=True, capture_output=True)
            yield f"flite-{voice}", _read(wav)


def festival(texts: list[str], lang: str, rng: np.random.Generator) -> Iterator[Voice]:
    """Festival's voices in turn; one process speaks a hundred sentences."""
    voices = FESTIVAL_VOICES[lang]
    for start in range(0, len(texts), 100):
        voice = voices[start // 100 % len(voices)]
        with tempfile.TemporaryDirectory() as folder:
            lines = [
                f"(voice_{voice})",
                f"(Parameter.set 'Duration_Stretch {rng.uniform(0.9, 1.2)})",
            ]
            for number, text in enumerate(texts[start : start + 100]):
                spoken = text.translate(_ITALIAN) if lang == "ita" else text
                utterance = f'(utt.synth (Utterance Text "{spoken}"))'
                lines.append(f'(utt.save.wave {utterance} "{number}.wav" \'riff)')
            script = Path(folder) / "speak.scm"
            script.write_text("\n".join(lines), encoding="utf-8")
            subprocess.run(["festival", "--batch", script], cwd=folder, capture_output=True)
            for number in range(len(texts[start : start + 100])):
                wav = Path(folder) / f"{number}.wav"
                yield f"festival-{voice}", _read(wav) if wav.exists() else None


def pico(texts: list[str], lang: str, _: np.random.Generator) -> Iterator[Voice]:
    """SVOX Pico, kept out of training in every language."""
    from py_nanotts import NanoTTS

    voices = {"eng": ("en-US", "en-GB"), "spa": ("es-ES",), "fra": ("fr-FR",), "ita": ("it-IT",)}
    speaker = NanoTTS()
    for number, text in enumerate(texts):
        voice = voices[lang][number % len(voices[lang])]
        audio = np.frombuffer(speaker.speak(text, voice=voice), np.int16).astype(
            np.float32
        ) / np.float32(32768)
        yield f"pico-{voice}", to_pcm(audio, SAMPLE_RATE) if len(audio) else None
