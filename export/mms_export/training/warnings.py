"""Warnings about a corpus: what a person should look at before training."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mms_engine.text.scripts import scripts_of
from mms_export.training.corpus.clip import Clip
from mms_export.training.corpus.split import Split
from mms_export.training.report import Character, Example
from mms_export.training.texts import TextRules

_SHOWN = 5
_LITTLE_MINUTES = 10.0
_RARE = 5
_OF_SEVERAL = frozenset({"Hans", "Hant", "Hira", "Kana", "Kore", "Jpan"})
"""Scripts that share their letters with others of the table, or are written together."""
_MOST_OF_ALL = 0.8
_OVERLAP_SECONDS = 0.3
_INSIDE = re.compile(r"(?<=[^\W\d_])[^\w\s](?=[^\W\d_])")
"""A sign between two letters."""
_PACE = 3.0
"""Factor by which a clip's letters per second differ from the median where its text is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Observations that the warnings are drawn from."""

    examples: Sequence[Example]
    split: Split | None
    characters: Sequence[Character]
    clipped: Sequence[str]
    """Places of clips with clipped samples."""
    remarks: Sequence[str]
    """Warnings about doubtful recordings."""
    rules: TextRules


def warnings_of(material: Material) -> Iterator[str]:
    """Yield one sentence for each matter."""
    if material.examples:
        yield from _amount(material)
        yield from _sides(material)
        yield from _letters(material.characters)
        yield from _dropped(material)
        yield from _sounds(material)


def _amount(material: Material) -> Iterator[str]:
    seconds = sum(example.seconds for example in material.examples)
    if seconds < 60 * _LITTLE_MINUTES:
        yield (
            f"{seconds / 60:.1f} minutes are little: a model begins to be of use from about "
            f"{_LITTLE_MINUTES:g}, and goes on learning far beyond an hour"
        )
    by_speaker: Counter[str] = Counter()
    for example in material.examples:
        by_speaker[example.clip.speaker] += len(example.text)
    most, size = by_speaker.most_common(1)[0]
    if most and len(by_speaker) > 1 and size > _MOST_OF_ALL * by_speaker.total():
        yield f"{size / by_speaker.total():.0%} of the text is spoken by {most}"


def _sides(material: Material) -> Iterator[str]:
    split = material.split
    if split is None:
        return
    if split.unit in ("recording", "clip"):
        is_known = all(example.clip.speaker for example in material.examples)
        why = "there is one speaker" if is_known else "not every clip has a speaker"
        parts = "whole recordings" if split.unit == "recording" else "the last clips"
        yield f"{why}: {parts} are held out, whose error rate says little about other speakers"
    texts = {example.clip: example.text for example in material.examples}
    trained = {texts[clip] for clip in split.train}
    known = [clip for clip in split.held_out if texts[clip] in trained]
    if known:
        yield (
            f"{len(known)} of {len(split.held_out)} held-out clips have a text that is trained on "
            f"too, which flatters the error rate: {_list([clip.where for clip in known])}"
        )
    new = {c for clip in split.held_out for c in texts[clip]} - {c for t in trained for c in t}
    if new:
        yield f"letters of held-out clips that training never sees: {_list(sorted(new))}"


def _letters(characters: Sequence[Character]) -> Iterator[str]:
    counts = {one.letter: one.count for one in characters}
    for one in characters:
        if one.look_alikes:
            other = max(one.look_alikes, key=counts.__getitem__)
            yield (
                f"{_named(one.letter)}, {_times(one.count)} ({one.where}), looks like "
                f"{_named(other)}, {_times(counts[other])}: if it is a slip, use "
                f"--map {one.letter}={other}"
            )
    rare = [one for one in characters if one.count < _RARE]
    if rare:
        shown = _list([f"{one.letter} ({one.where})" for one in rare])
        yield (
            f"letters that occur fewer than {_RARE} times are hardly learnt: {shown}. Slips and "
            "foreign letters are best written otherwise, with --map"
        )
    scripts = scripts_of(counts) - _OF_SEVERAL
    if len(scripts) > 1:
        yield f"letters of several scripts: {', '.join(sorted(scripts))}"


def _dropped(material: Material) -> Iterator[str]:
    """Yield what the preparation drops from within words: it may be a letter."""
    counts: Counter[str] = Counter()
    for example in material.examples:
        inside = _INSIDE.findall(material.rules.replaced(example.clip.text))
        counts.update(one for one in inside if one not in example.text)
    found = [(one, count) for one, count in counts.most_common() if count >= _RARE]
    if found:
        shown = _list([f"{_named(one)}, {_times(count)}" for one, count in found])
        yield (
            f"dropped from within words: {shown}. If it is a letter, write it as one with --map, "
            "such as U+A789 for a colon"
        )


def _sounds(material: Material) -> Iterator[str]:
    if material.remarks:
        yield f"remarks on recordings, {len(material.remarks)} in all: {_list(material.remarks)}"
    if material.clipped:
        yield f"overdriven clips, {len(material.clipped)} in all: {_list(material.clipped)}"
    overlapping = list(_overlapping([example.clip for example in material.examples]))
    if overlapping:
        yield (
            "clips during which another of the same recording is spoken, whose text they lack, "
            f"{len(overlapping)} in all: {_list(overlapping)}"
        )
    paces = [len(example.text) / example.seconds for example in material.examples]
    usual = median(paces)
    odd = [
        f"{example.clip.where}, {pace:.1f}"
        for example, pace in zip(material.examples, paces, strict=True)
        if not usual / _PACE <= pace <= usual * _PACE
    ]
    if odd:
        yield (
            f"clips with far more or fewer letters a second than the usual {usual:.1f}, as with a "
            f"wrong text, {len(odd)} in all: {_list(odd)}"
        )


def _overlapping(clips: Sequence[Clip]) -> Iterator[str]:
    ends: dict[Path, float] = {}
    for clip in sorted(clips, key=lambda clip: clip.start):
        end = float("inf") if clip.end is None else clip.end
        if ends.get(clip.audio, 0.0) - clip.start > _OVERLAP_SECONDS:
            yield clip.where
        ends[clip.audio] = max(end, ends.get(clip.audio, 0.0))


def _named(letter: str) -> str:
    return f"{letter} ({', '.join(unicodedata.name(c, f'U+{ord(c):04X}') for c in letter)})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _list(items: Sequence[str]) -> str:
    rest = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + rest
