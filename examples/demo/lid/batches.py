"""Batches of excerpts for language identification: batch number n is the same in every run."""

import dataclasses

import numpy as np
import torch
from examples.demo.augment import augment, decibels, normalise_audio
from examples.demo.batches import ClipStore
from examples.demo.lid.sounds import KINDS, Music
from examples.demo.model import HOP
from examples.demo.prepare import SAMPLE_RATE
from examples.demo.text import LANGUAGES
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

Audio = NDArray[np.float32]
NONE = -1  # target of a row that is none of the labels
# Seconds of the longest excerpt of a batch: few values, since oneDNN compiles for every shape.
LENGTHS = (1.5, 2.0, 2.0, 2.6, 3.4, 4.5, 6.0, 3.0)
NOT_SPEECH, OTHER_LANGUAGES = 0.09, 0.06  # shares of the rows
STRENGTH = 0.5  # of the variation of speech
KIND_SHARE = {"multispeaker": 0.74, "synthetic": 0.13, "varied": 0.07, "real": 0.06}
SPEAKER_BALANCE = 0.5  # power of a speaker's minutes; 0 draws all speakers alike


@dataclasses.dataclass(frozen=True)
class Batch:
    """Tensors of one step; B rows, T frames (the last of which is only the seam)."""

    audio: Tensor  # float32 [B, T * 320], normalised, zero-padded
    samples: Tensor  # int64 [B]
    target: Tensor  # int64 [B], label or NONE
    spans: Tensor  # bool [B, T], frames to hide from the encoder


class Speakers:
    """Training clips of one kind in one language, drawn by speaker."""

    def __init__(self, store: ClipStore, indices: list[int]) -> None:
        self.store = store
        by_voice: dict[str, list[int]] = {}
        for index in indices:
            by_voice.setdefault(store.clips[index].voice, []).append(index)
        self.clips = list(by_voice.values())
        samples = [sum(store.clips[i].samples for i in clips) for clips in self.clips]
        weights = np.array(samples, float) ** SPEAKER_BALANCE
        self.shares = weights / weights.sum()

    def draw(self, count: int, rng: np.random.Generator) -> Audio:
        """Samples of one clip after another of one or more speakers, (count,)."""
        parts: list[Audio] = []
        have = 0
        while have < count:
            clips = self.clips[rng.choice(len(self.clips), p=self.shares)]
            audio = self.store.audio(clips[rng.integers(len(clips))])
            if parts:
                parts.append(np.zeros(rng.integers(0, SAMPLE_RATE // 4), np.float32))
                audio = audio * np.float32(_level(parts[0]) / _level(audio))
            parts.append(audio)
            have = sum(map(len, parts))
        joined = np.concatenate(parts)
        start = rng.integers(0, len(joined) - count + 1)
        return joined[start : start + count]


def _level(audio: Audio) -> float:
    return float(np.sqrt(np.mean(audio**2))) + 1e-5


class TrainingBatches(Dataset[Batch]):
    """Item n is the batch of step n: it depends on the seed, n, the clips and the music alone."""

    def __init__(self, store: ClipStore, recorded: Music, *, seconds: float = 64.0) -> None:
        self.recorded, self.seconds = recorded, seconds
        self.pools = {label: self._pools(store, label, KIND_SHARE) for label in LANGUAGES}
        others = sorted({clip.lang for clip in store.clips} - set(LANGUAGES))
        self.others = [
            Speakers(store, indices)
            for lang in others
            if (indices := store.trainable("multispeaker", lang))
        ]

    @staticmethod
    def _pools(
        store: ClipStore, lang: str, shares: dict[str, float]
    ) -> list[tuple[float, Speakers]]:
        """Return the kinds of clips of a language with their shares."""
        found = {kind: store.trainable(kind, lang) for kind in shares}
        total = sum(shares[kind] for kind in found if found[kind])
        return [
            (shares[kind] / total, Speakers(store, indices))
            for kind, indices in found.items()
            if indices
        ]

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((20261129, step))
        seconds = LENGTHS[step % len(LENGTHS)]
        rows = [self._row(seconds, rng) for _ in range(round(self.seconds / seconds))]
        frames = int(seconds * SAMPLE_RATE) // HOP + 1
        audio = np.zeros((len(rows), frames * HOP), np.float32)
        spans = np.zeros((len(rows), frames), bool)
        for row, (samples, _) in enumerate(rows):
            audio[row, : len(samples)] = normalise_audio(samples)
            for start in rng.integers(0, frames, size=1 + frames // 50):
                spans[row, start : start + rng.integers(1, 10)] = True
        return Batch(
            audio=torch.from_numpy(audio),
            samples=torch.tensor([len(samples) for samples, _ in rows]),
            target=torch.tensor([target for _, target in rows]),
            spans=torch.from_numpy(spans),
        )

    def _row(self, seconds: float, rng: np.random.Generator) -> tuple[Audio, int]:
        """Return varied audio of at most `seconds` and its target."""
        count = int(seconds * rng.uniform(0.85, 1) * SAMPLE_RATE)
        lead = int(1.25 * count)  # for what a change of speed takes away
        choice = rng.random()
        if choice < NOT_SPEECH:
            return self._not_speech(lead, rng)[:count], NONE
        if choice < NOT_SPEECH + OTHER_LANGUAGES:
            speakers, target = self.others[rng.integers(len(self.others))], NONE
        else:
            target = int(rng.integers(len(LANGUAGES)))
            pools = self.pools[LANGUAGES[target]]
            speakers = pools[rng.choice(len(pools), p=[share for share, _ in pools])][1]
        audio = _with_pause(speakers.draw(lead, rng), rng)
        if rng.random() < 0.08:
            behind = self._music(lead, rng)
            audio = audio + behind * (_level(audio) / _level(behind)) * decibels(
                -rng.uniform(3, 20)
            )
        audio = augment(audio.astype(np.float32), rng, speakers.draw(lead, rng), STRENGTH)
        start = rng.integers(0, max(len(audio) - count, 0) + 1)
        return audio[start : start + count], target

    def _music(self, count: int, rng: np.random.Generator) -> Audio:
        if rng.random() < 0.5:
            return self.recorded.draw(count, rng)
        return KINDS[-1](count, rng)

    def _not_speech(self, count: int, rng: np.random.Generator) -> Audio:
        """Silence, noise or music, half of it varied as speech is."""
        if rng.random() < 0.3:
            audio = self.recorded.draw(count, rng)
        else:
            audio = KINDS[rng.integers(len(KINDS))](count, rng)
            if rng.random() < 0.25:
                audio = audio + KINDS[rng.integers(len(KINDS))](count, rng)
        audio = audio * np.float32(decibels(-rng.uniform(0, 30)))
        return augment(audio, rng, audio) if rng.random() < 0.5 else audio


def _with_pause(audio: Audio, rng: np.random.Generator) -> Audio:
    """Silence a passage now and then: at either end, or anywhere."""
    if rng.random() < 0.3:
        length = int(rng.uniform(0.1, 0.5) * len(audio))
        start = int(rng.choice([0, len(audio) - length, rng.integers(len(audio) - length)]))
        audio = audio.copy()
        audio[start : start + length] *= np.float32(decibels(-rng.uniform(30, 80)))
    return audio
