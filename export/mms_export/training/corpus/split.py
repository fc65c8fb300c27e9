"""Division of clips into training and held-out ones, so that no speaker is on both sides."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mms_engine.errors import MmsError
from mms_export.training.corpus.clip import Clip

SplitUnit = Literal["corpus", "speaker", "recording", "clip"]
"""Unit that is whole on one side; `corpus` for the corpus's own split."""


@dataclass(frozen=True, slots=True)
class Split:
    """Clips for training, and those that are held out to measure it."""

    train: tuple[Clip, ...]
    held_out: tuple[Clip, ...]
    unit: SplitUnit


def split_by_speaker(clips: Sequence[Clip], *, share: float = 0.1, seed: int = 0) -> Split:
    """Divide clips by speaker, or by recording where speakers are unknown or there is one only.

    With one recording the last clips of it are held out. A split that the corpus itself names is
    kept. The result depends on the clips' names and the seed, not on their order.

    Args:
        clips: At least two clips.
        share: Share of the text to hold out, in (0, 1), which is met up to the size of a speaker.
        seed: Number of the draw.

    Raises:
        MmsError: there are less than two clips, or the corpus names a split in which a speaker is
            on both sides.
    """
    if len(clips) < 2:
        raise MmsError(f"{len(clips)} clip cannot be divided: training needs clips to measure with")
    if {clip.side for clip in clips} >= {"train", "held-out"}:
        return _own(clips)
    for unit, name_of in _UNITS:
        names = {name_of(clip) for clip in clips}
        if len(names) > 1 and "" not in names:
            return _draw(clips, name_of, unit, share, seed)
    ordered = sorted(clips, key=_place)
    count = min(max(round(share * len(clips)), 1), len(clips) - 1)
    return Split(tuple(ordered[:-count]), tuple(ordered[-count:]), "clip")


_UNITS: tuple[tuple[SplitUnit, Callable[[Clip], str]], ...] = (
    ("speaker", lambda clip: clip.speaker),
    ("recording", lambda clip: clip.recording or str(clip.audio)),
)


def _place(clip: Clip) -> tuple[float, list[tuple[int, str]]]:
    """Return the place of a clip in a recording: by time, then by numbers in its place."""
    parts = re.split(r"(\d+)", clip.where)
    return clip.start, [(int(part) if part.isdecimal() else 0, part) for part in parts]


def _own(clips: Sequence[Clip]) -> Split:
    train = tuple(clip for clip in clips if clip.side != "held-out")
    held_out = tuple(clip for clip in clips if clip.side == "held-out")
    shared = {clip.speaker for clip in train} & {clip.speaker for clip in held_out} - {""}
    if shared:
        raise MmsError(
            f"the corpus's own split has {len(shared)} speakers on both sides, such as "
            f"{min(shared)!r}: figures measured with it say nothing about new speakers. Remove its "
            "names of the sides, to have the clips divided by speaker"
        )
    return Split(train, held_out, "corpus")


def _draw(
    clips: Sequence[Clip],
    name_of: Callable[[Clip], str],
    unit: SplitUnit,
    share: float,
    seed: int,
) -> Split:
    """Hold out drawn names until the share of the text is reached, but never all."""
    sizes: Counter[str] = Counter()
    for clip in clips:
        sizes[name_of(clip)] += len(clip.text)
    drawn = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    wanted = share * sizes.total()
    chosen: set[str] = set()
    held = 0
    for name in drawn[:-1]:
        # A name that would overshoot by more than is missing is passed over.
        if held + sizes[name] / 2 <= wanted:
            chosen.add(name)
            held += sizes[name]
    chosen = chosen or {min(drawn, key=lambda name: (sizes[name], name))}
    train = tuple(clip for clip in clips if name_of(clip) not in chosen)
    return Split(train, tuple(clip for clip in clips if name_of(clip) in chosen), unit)
