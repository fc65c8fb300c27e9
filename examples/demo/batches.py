"""Batches of clips of similar length: batch number n is the same in every run."""

import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from examples.demo.augment import change_sound, change_timing, log_mels, normalise_audio
from examples.demo.model import HOP, MELS, RECEPTIVE_FIELD
from examples.demo.prepare import SAMPLE_RATE, Clip, read_manifest
from examples.demo.text import DIGITS, LANGUAGES
from examples.demo.vocab import NestedVocab, encode
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

# Steps until which clips are at most so many seconds long; short ones teach alignment first.
CURRICULUM = ((400, 2.2), (900, 4.5), (1 << 60, 18.0))
VIEWS = 2  # of every clip in a batch: other noise, rooms and masks over the same frames
AUGMENT_STEPS = 10_000  # in which the strength of augmentation would rise by 1
KIND_SHARE = {"real": 0.16, "varied": 0.06, "synthetic": 0.12, "multispeaker": 0.66, "words": 0.1}
BALANCE = 0.6  # power of a language's minutes; 0 draws all languages alike
SPEAKER_BALANCE = 0.6  # power of a speaker's minutes; 0 draws all speakers of a language alike
FAVOURED = 2.0  # weight of the languages of the announcers beside the others


@dataclasses.dataclass(frozen=True)
class Batch:
    """Tensors of one step; B rows, T frames (the last of which is only the seam).

    Rows are the clips once in each of their `VIEWS`: rows i and i + B / 2 are the same clip.
    """

    audio: Tensor  # float32 [B, T * 320], normalised, zero-padded
    samples: Tensor  # int64 [B]
    language: Tensor  # int64 [B]
    targets: Tensor  # int64 [sum of target_lengths]
    target_lengths: Tensor  # int64 [B]
    mels: Tensor  # float32 [B, T, MELS]
    spans: Tensor  # bool [B, T], frames to hide from the encoder


class ClipStore:
    """All sets of clips in folders (every NAME.tsv with its NAME.pcm)."""

    def __init__(self, *folders: Path) -> None:
        self.clips: list[Clip] = []
        self._sources: list[Path] = []
        self._source_of: list[int] = []
        for manifest in (file for one in folders for file in sorted(one.glob("*.tsv"))):
            clips = read_manifest(manifest)
            self.clips += clips
            self._source_of += [len(self._sources)] * len(clips)
            self._sources.append(manifest.with_suffix(".pcm"))
        digits = {digit for spoken in DIGITS.values() for digit in spoken}
        # Digits are in every set of words; their left-out voices are apart.
        self._texts_apart = {clip.text for clip in self.clips if clip.split != "train"} - digits
        self._voices_apart = {clip.voice for clip in self.clips if clip.split == "leftout"}

    def audio(self, index: int) -> NDArray[np.float32]:
        """Samples of a clip in [-1, 1], (samples,)."""
        clip, source = self.clips[index], self._sources[self._source_of[index]]
        # Not a memory map: its pages would count as memory of the process.
        pcm = np.fromfile(source, np.int16, clip.samples, offset=2 * clip.offset)
        return pcm.astype(np.float32) / np.float32(32768)

    def select(self, kind: str, split: str, lang: str | None = None) -> list[int]:
        """Indices of clips, shortest first."""
        chosen = [
            index
            for index, clip in enumerate(self.clips)
            if clip.kind == kind and clip.split == split and lang in (None, clip.lang)
        ]
        return sorted(chosen, key=lambda index: self.clips[index].samples)

    def trainable(self, kind: str, lang: str) -> list[int]:
        """Indices of training clips, less every text and voice kept apart in any set."""
        return [
            index
            for index in self.select(kind, "train", lang)
            if self.clips[index].text not in self._texts_apart
            and self.clips[index].voice not in self._voices_apart
        ]


@dataclasses.dataclass(frozen=True)
class Pool:
    """Clips of one kind in one language, shortest first; arrays [clips]."""

    indices: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """Samples of each."""
    odds: NDArray[np.float64]
    """Odds of each, so that a speaker of many clips is not drawn as often as they would say."""

    @classmethod
    def of(cls, store: ClipStore, indices: list[int]) -> "Pool":
        """Return the pool of clips, which are sorted by length."""
        clips = [store.clips[index] for index in indices]
        spoken: dict[str, int] = defaultdict(int)
        for clip in clips:
            spoken[clip.voice] += clip.samples
        odds = [float(spoken[clip.voice]) ** (SPEAKER_BALANCE - 1) for clip in clips]
        lengths = np.array([clip.samples for clip in clips])
        return cls(np.array(indices), lengths, np.array(odds))

    def draw_length(self, limit: float, rng: np.random.Generator) -> int:
        """Draw a length up to `limit`, if there is one: seconds of speech weigh alike."""
        most = max(int(np.searchsorted(self.lengths, limit)), 1)
        # By duration, not by clip: a second of speech is worth the same wherever it is.
        cumulated = np.cumsum((self.lengths * self.odds)[:most])
        place = np.searchsorted(cumulated, rng.uniform(0, cumulated[-1]))
        return int(self.lengths[min(int(place), most - 1)])

    def draw(self, low: int, high: int, rng: np.random.Generator) -> int:
        """Draw a clip of places `low` to `high`, exclusive."""
        cumulated = np.cumsum(self.odds[low:high])
        place = np.searchsorted(cumulated, rng.uniform(0, cumulated[-1]))
        return int(self.indices[low + min(int(place), high - low - 1)])


class TrainingBatches(Dataset[Batch]):
    """Item n is the batch of step n: it depends on the seed, n and the clips alone."""

    def __init__(self, store: ClipStore, vocab: NestedVocab, *, seconds: float = 48.0) -> None:
        self.store, self.vocab, self.seconds = store, vocab, seconds
        self.languages = tuple(vocab)
        self.pools: dict[tuple[str, str], Pool] = {}
        self.weights: dict[tuple[str, str], float] = {}
        for kind, share in KIND_SHARE.items():
            weights: dict[tuple[str, str], float] = {}
            for lang in vocab:
                indices = store.trainable(kind, lang)
                if indices:
                    self.pools[kind, lang] = pool = Pool.of(store, indices)
                    favour = FAVOURED if lang in LANGUAGES else 1.0
                    weights[kind, lang] = favour * float(pool.lengths.sum()) ** BALANCE
            total = sum(weights.values())
            self.weights |= {key: share * weight / total for key, weight in weights.items()}

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((20261122, step))
        indices = self._draw(step, rng)
        babble = self.store.audio(int(rng.choice(indices)))
        strength = min(0.6, 0.25 + step / AUGMENT_STEPS)
        clips = [change_timing(self.store.audio(i), rng, strength) for i in indices]
        views = [change_sound(clip, rng, babble, strength) for _ in range(VIEWS) for clip in clips]
        return self._collate(VIEWS * indices, [normalise_audio(view) for view in views], rng)

    def _draw(self, step: int, rng: np.random.Generator) -> list[int]:
        """Indices of clips about as long as a first one; their views are `seconds` together."""
        limit = next(seconds for until, seconds in CURRICULUM if step < until) * SAMPLE_RATE
        keys = list(self.pools)
        shares = np.array([self.weights[key] for key in keys])
        shares = shares * [self.pools[key].lengths[0] <= limit for key in keys]
        pivot = self.pools[keys[rng.choice(len(keys), p=shares / shares.sum())]].draw_length(
            limit, rng
        )
        padded = 1.1 * pivot / SAMPLE_RATE + 0.3  # with what `augment` may add
        count = max(2, round(self.seconds / VIEWS / padded))
        bounds = (pivot * 0.87, min(pivot * 1.1, limit) + 1)
        ranges = [np.searchsorted(self.pools[key].lengths, bounds) for key in keys]
        shares = shares * [low < high for low, high in ranges]
        chosen = rng.choice(len(keys), size=count, p=shares / shares.sum())
        return [self.pools[keys[key]].draw(*ranges[key], rng) for key in chosen]

    def _collate(
        self, indices: list[int], clips: list[NDArray[np.float32]], rng: np.random.Generator
    ) -> Batch:
        frames = max(len(clip) for clip in clips) // HOP + 1
        audio = np.zeros((len(clips), frames * HOP), np.float32)
        mels = np.zeros((len(clips), frames, MELS), np.float32)
        spans = np.zeros((len(clips), frames), bool)
        for row, clip in enumerate(clips):
            audio[row, : len(clip)] = clip
            estimate = log_mels(clip)
            mels[row, : len(estimate)] = estimate
            for start in rng.integers(0, frames, size=1 + frames // 50):
                spans[row, start : start + rng.integers(1, 8)] = True
        chosen = [self.store.clips[index] for index in indices]
        targets = [encode(clip.text, self.vocab[clip.lang]) for clip in chosen]
        return Batch(
            audio=torch.from_numpy(audio),
            samples=torch.tensor([max(len(clip), RECEPTIVE_FIELD) for clip in clips]),
            language=torch.tensor([self.languages.index(clip.lang) for clip in chosen]),
            targets=torch.tensor([token for target in targets for token in target]),
            target_lengths=torch.tensor([len(target) for target in targets]),
            mels=torch.from_numpy(mels),
            spans=torch.from_numpy(spans),
        )
