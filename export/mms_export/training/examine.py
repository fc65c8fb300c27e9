"""Examination of a corpus before training: every recording is read once."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mms_engine.audio.convert import SAMPLE_RATE
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.errors import AudioError, MmsError
from mms_engine.text.confusables import look_alikes
from mms_engine.types import Float32Array
from mms_export.training.corpus.audio import clips_of_recording
from mms_export.training.corpus.clip import Clip, Corpus
from mms_export.training.corpus.split import Split, split_by_speaker
from mms_export.training.report import Character, Example, Fault, LeftOut, Report
from mms_export.training.texts import NOTE, TextRules
from mms_export.training.vocabulary import (
    build_vocabulary,
    check_letters,
    find_letters,
    frames_needed,
)
from mms_export.training.warnings import Material, warnings_of

_GEOMETRY = FrameGeometry((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))
_SPARE_FRAMES = 2
"""Frames beyond those a text needs at least: with fewer, CTC's loss is huge."""
_SILENT = -60.0
"""Level in dBFS of the loudest 20 ms of a clip without speech."""
_FULL_SCALE, _CLIPPED_SHARE = 0.999, 0.001
"""Level from which a sample is clipped, and the share of such samples in a clip that is."""
_SLIPS = 0.1
"""Frequency of a letter, relative to one that looks like it, below which it may be a slip."""
_TOLERANCE_SECONDS = 0.25
"""Time that a clip may reach beyond the end of its recording."""
_DIGITS = re.compile(r"(?<!\S)\d[\d.,:/-]*(?!\S)")
"""Numbers in digits that are words of their own: MMS's rules drop them, but they are spoken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLimits:
    """Durations between which clips serve training."""

    min_seconds: float = 0.3
    max_seconds: float = 20.0


_DEFAULT_LIMITS = ClipLimits()


def examine(
    corpus: Corpus,
    rules: TextRules,
    *,
    letters: Sequence[str] = (),
    limits: ClipLimits = _DEFAULT_LIMITS,
    share: float = 0.1,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Report:
    """Return the report of a corpus: its clips, prepared and divided, and what is wrong with it.

    Args:
        corpus: The corpus.
        rules: Preparation of texts.
        letters: Letters of several characters; see `build_vocabulary`.
        limits: Durations of clips.
        share: Share of the clips to hold out; see `split_by_speaker`.
        seed: Number of the draw of the held-out speakers.
        progress: Called with the number of clips that were examined since the last call.

    Raises:
        MmsError: `letters` are no letters.
    """
    letters = check_letters(letters)
    work = _Examination(rules, letters, limits)
    by_audio: dict[Path, list[Clip]] = {}
    for clip in corpus.clips:
        if work.take_text(clip):
            by_audio.setdefault(clip.audio, []).append(clip)
        elif progress is not None:
            progress(1)
    for audio, clips in by_audio.items():
        work.take_audio(audio, clips, progress)
    return work.report(corpus, share, seed)


class _Examination:
    """State of an examination."""

    def __init__(self, rules: TextRules, letters: Sequence[str], limits: ClipLimits) -> None:
        self._rules = rules
        self._letters = letters
        self._limits = limits
        self._texts: dict[Clip, str] = {}
        self._examples: dict[Clip, Example] = {}
        self._left_out: list[LeftOut] = []
        self._sounds: dict[bytes, Clip] = {}
        self._clipped: list[str] = []
        self._remarks: list[str] = []

    def take_text(self, clip: Clip) -> bool:
        """Prepare the text of a clip; return whether it is of use."""
        text = self._rules.apply(clip.text)
        fault = self._text_fault(clip.text, text)
        if fault is not None:
            self._leave_out(clip, *fault)
            return False
        self._texts[clip] = text
        return True

    def _text_fault(self, written: str, text: str) -> tuple[Fault, str] | None:
        written = self._rules.replaced(written)
        marks = NOTE.findall(written)
        if marks:
            return "note", " ".join(marks)
        digits = _DIGITS.findall(written) if self._rules.normalized else []
        if digits:
            return "digits", " ".join(digits)
        return None if text else ("empty", repr(written))

    def take_audio(
        self, audio: Path, clips: Sequence[Clip], progress: Callable[[int], object] | None
    ) -> None:
        """Measure the clips of a recording."""
        left = dict.fromkeys(clips)
        try:
            for clip, samples in clips_of_recording(audio, clips, self._remarks):
                self._take_samples(clip, samples)
                left.pop(clip, None)
                if progress is not None:
                    progress(1)
        except AudioError as error:
            for clip in left:
                self._leave_out(clip, "unreadable", str(error))
            if progress is not None:
                progress(len(left))

    def _take_samples(self, clip: Clip, samples: Float32Array) -> None:
        text, seconds = self._texts[clip], samples.size / SAMPLE_RATE
        fault = self._sound_fault(clip, text, samples, seconds)
        if fault is not None:
            self._leave_out(clip, *fault)
            return
        digest = hashlib.sha256(samples.tobytes()).digest()
        first = self._sounds.setdefault(digest, clip)
        if first is not clip:
            same = self._texts[first] == text
            what = f"of {first.where}" if same else f"{first.where} has it with another text"
            self._leave_out(clip, "duplicate" if same else "contradiction", what)
            if not same and first in self._examples:
                self._leave_out(first, "contradiction", f"{clip.where} has it with another text")
                del self._examples[first]
            return
        if float(np.mean(np.abs(samples) >= _FULL_SCALE)) > _CLIPPED_SHARE:
            self._clipped.append(clip.where)
        self._examples[clip] = Example(clip, text, seconds)

    def _sound_fault(
        self, clip: Clip, text: str, samples: Float32Array, seconds: float
    ) -> tuple[Fault, str] | None:
        limits = self._limits
        if clip.end is not None and clip.end - clip.start - seconds > _TOLERANCE_SECONDS:
            missing = clip.end - clip.start - seconds
            return "cut off", f"its recording ends {missing:.1f} s before the clip does"
        if seconds < limits.min_seconds:
            return "short", f"{seconds:.2f} s"
        if seconds > limits.max_seconds:
            return "long", f"{seconds:.0f} s"
        needed = frames_needed(find_letters(text, self._letters))
        frames = _GEOMETRY.frames(samples.size)
        if frames < needed + _SPARE_FRAMES:
            return "crowded", f"{needed} frames are needed, {seconds:.2f} s are {frames}"
        level = loudest(samples)
        return ("silent", f"{level:.0f} dBFS") if level < _SILENT else None

    def _leave_out(self, clip: Clip, kind: Fault, detail: str) -> None:
        self._left_out.append(LeftOut(clip.where, kind, detail))

    def report(self, corpus: Corpus, share: float, seed: int) -> Report:
        """Return the report, the clips in the order of the corpus."""
        clips = [clip for clip in corpus.clips if clip in self._examples]
        faults: list[str] = []
        split: Split | None = None
        vocabulary = build_vocabulary(())
        try:
            split = split_by_speaker(clips, share=share, seed=seed)
            training = (self._examples[clip].text for clip in split.train)
            vocabulary = build_vocabulary(training, self._letters)
        except MmsError as error:
            faults.append(str(error))
        train = split.train if split else clips
        examples = [self._examples[clip] for clip in clips]
        found = tuple(characters(examples, self._letters))
        material = Material(
            examples=examples,
            split=split,
            characters=found,
            clipped=self._clipped,
            remarks=self._remarks,
            rules=self._rules,
        )
        return Report(
            path=str(corpus.path),
            format=corpus.format,
            language=self._rules.language,
            train=tuple(self._examples[clip] for clip in train),
            held_out=tuple(self._examples[clip] for clip in split.held_out) if split else (),
            split_unit=split.unit if split else None,
            vocabulary=vocabulary,
            characters=found,
            left_out=tuple(self._left_out),
            skipped=corpus.skipped,
            warnings=tuple(warnings_of(material)),
            faults=tuple(faults),
        )


def loudest(samples: Float32Array) -> float:
    """Return the level in dBFS of the loudest 20 ms of samples `[N]`, at least -200."""
    size = SAMPLE_RATE // 50
    frames = samples[: samples.size // size * size].reshape(-1, size)
    power = float(np.square(frames, dtype=np.float64).mean(axis=1).max(initial=1e-20))
    return 10 * float(np.log10(power))


def characters(examples: Sequence[Example], letters: Sequence[str]) -> Iterator[Character]:
    """Yield the letters of texts, the most frequent first."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for example in examples:
        found = Counter(find_letters(example.text, letters))
        counts.update(found)
        for letter in found:
            first.setdefault(letter, example.clip.where)
    del counts[" "]
    for letter, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        similar = look_alikes(letter, counts)
        frequent = tuple(one for one in similar if count < _SLIPS * counts[one])
        yield Character(letter, count, frequent, first[letter])
