"""Speech with known times: the demo's clips, joined with pauses; and emissions made by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine_demo import demo_clips
from mms_engine import read_audio
from mms_engine.align.emission import EmissionSink, TargetEmission
from mms_engine.encoder.batches import WindowRow
from mms_engine.encoder.emission import HostEmission
from mms_engine.encoder.windows import Window
from mms_engine.text.vocabulary import Vocabulary

RATE = 16_000
FRAME = 0.02
LATIN = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"))


@dataclass(frozen=True, eq=False)
class Speech:
    """Audio and what it says."""

    samples: np.ndarray
    text: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


@dataclass(eq=False)
class Joined:
    """Clips one after another, with pauses between them."""

    samples: np.ndarray
    spans: list[tuple[float, float]] = field(default_factory=list)
    """Start and end of each clip, seconds."""


def demo_speech() -> dict[str, list[Speech]]:
    found: dict[str, list[Speech]] = {}
    for clip in demo_clips():
        speech = Speech(read_audio(clip.path).samples, clip.text)
        found.setdefault(clip.language, []).append(speech)
    return found


def join(
    clips: Sequence[Speech], seed: int = 0, pauses: tuple[float, float] = (0.3, 1.0)
) -> Joined:
    """Join clips with pauses of random length before each and half a second at the end."""
    random = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    spans = []
    at = 0
    for clip in clips:
        pause = np.zeros(int(random.uniform(*pauses) * RATE), np.float32)
        parts += [pause, clip.samples]
        at += len(pause)
        spans.append((at / RATE, (at + len(clip.samples)) / RATE))
        at += len(clip.samples)
    return Joined(np.concatenate([*parts, np.zeros(RATE // 2, np.float32)]), spans)


def insert(samples: np.ndarray, at: float, extra: np.ndarray) -> np.ndarray:
    """Return audio with other audio put in at a time."""
    cut = round(at * RATE)
    return np.concatenate([samples[:cut], extra, samples[cut:]])


def music(seconds: float) -> np.ndarray:
    """Chords of five tones that come and go, with vibrato."""
    t = np.arange(int(seconds * RATE)) / RATE
    tones = [(220, 1.0), (277, 0.5), (330, 2.0), (440, 0.7), (880, 1.3)]
    vibrato = t * (1 + 0.002 * np.sin(5 * t))
    waves = [np.sin(2 * np.pi * f * vibrato) * (np.sin(2 * np.pi * t * r) > 0) for f, r in tones]
    return (0.1 * np.sum(waves, axis=0)).astype(np.float32)


def emission_of(
    logits: np.ndarray, vocabulary: Vocabulary = LATIN, max_bytes: int = 2 << 30
) -> TargetEmission:
    """Return the emission of logits `[T, V]`, with every token of the vocabulary as a column."""
    tokens = [token for token in range(1, len(vocabulary)) if vocabulary.tokens[token][0] != "<"]
    sink = EmissionSink(tokens, max_bytes)
    for start in range(0, len(logits), 1500):
        part = logits[start : start + 1500]
        window = Window(0, len(part), 0, len(part))
        emission = HostEmission(part[None], (len(part),), (part.shape[1],))
        sink.take([WindowRow(0, "", window)], emission)
    return sink.finish()


def spoken_logits(
    text: str, random: np.random.Generator, frames_per_letter: int = 4, errors: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits `[T, V]` that say a text, and the frame `[N]` of each letter.

    Letters take one frame each, with blanks between them; a word boundary stands between words. A
    share of the letters is decoded as another.
    """
    symbols = "|".join(text.split())
    ids = np.array([LATIN.tokens.index(symbol) for symbol in symbols])
    gaps = random.integers(2, 2 * frames_per_letter - 1, len(ids))
    places = np.cumsum(gaps)
    logits = random.normal(0, 1, (int(places[-1]) + frames_per_letter, len(LATIN)))
    logits = logits.astype(np.float32)
    logits[:, 0] += 8
    said = ids.copy()
    wrong = (random.random(len(ids)) < errors) & (ids != LATIN.tokens.index("|"))
    said[wrong] = random.integers(5, len(LATIN), int(wrong.sum()))
    logits[places, 0] -= 8
    logits[places, said] += 10
    return logits, places[ids != LATIN.tokens.index("|")]


def random_text(words: int, random: np.random.Generator) -> str:
    """Return words of random letters, in lines of ten."""
    letters = list("etaoinshrdlucmfwyp")
    found = ["".join(random.choice(letters, random.integers(2, 9))) for _ in range(words)]
    return "\n".join(" ".join(found[i : i + 10]) for i in range(0, words, 10))
