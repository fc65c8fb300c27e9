"""Alignments as JSON and as timed text."""

import dataclasses
from collections.abc import Iterable, Iterator

import msgspec

from mms_engine.formats.timed_text import (
    CHARACTERS,
    LINES,
    REGIONS,
    WORDS,
    Interval,
    Tier,
    TimedText,
)
from mms_engine.system import printable
from mms_engine.types import Alignment, Region

_FIELDS = tuple(field.name for field in dataclasses.fields(Alignment))


def alignment_json(alignment: Alignment, name: str) -> str:
    """Return the recording's name as `file`, then the alignment's fields, on one line."""
    fields = {field: getattr(alignment, field) for field in _FIELDS}
    return msgspec.json.encode({"file": printable(name), **fields}).decode() + "\n"


def from_alignment(alignment: Alignment, name: str, media: str = "") -> TimedText:
    """Return an alignment as timed text.

    Its tiers are the lines that have words, the words, their characters, and the regions, whose
    labels are their kinds.
    """
    lines = tuple(
        Interval(line.text, line.start, line.end, line.score, line.trusted_share > 0)
        for line in alignment.lines
        if line.last_word > line.first_word
    )
    words = tuple(
        Interval(word.text, word.start, word.end, word.score, word.trusted)
        for word in alignment.words
    )
    characters = tuple(
        Interval(one.text, one.start, one.end, one.score)
        for word in alignment.words
        for one in word.characters
    )
    tiers = (
        Tier(LINES, lines),
        Tier(WORDS, words, within=LINES),
        Tier(CHARACTERS, characters, within=WORDS),
        Tier(REGIONS, tuple(_apart(alignment.regions))),
    )
    return TimedText(
        name=name,
        media=media,
        language=alignment.language,
        duration=alignment.seconds,
        joiner=_joiner(alignment),
        tiers=tuple(tier for tier in tiers if tier.intervals or tier.name == WORDS),
    )


def _joiner(alignment: Alignment) -> str:
    """Return the text between two words of a line: nothing in scripts without spaces."""
    for line in alignment.lines:
        if line.last_word - line.first_word > 1:
            return " " if any(character.isspace() for character in line.text) else ""
    return " "


def _apart(regions: Iterable[Region]) -> Iterator[Interval]:
    """Yield the regions as intervals; where two overlap, the later one begins where they part."""
    position = 0.0
    for region in sorted(regions, key=lambda one: (one.start, one.end)):
        start = max(region.start, position)
        if region.end > start:
            yield Interval(region.kind, start, region.end, trusted=False)
            position = region.end
