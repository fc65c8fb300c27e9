"""Praat TextGrid, in the long text format."""

from collections.abc import Iterator

from mms_engine.formats.timed_text import Interval, Tier, TimedText, merge_empty

_SHORTEST = 0.001
"""Duration in seconds of an empty recording: Praat has no interval of length zero."""
_HEAD = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0.0
xmax = {end}
tiers? <exists>
size = {tiers}
item []:
"""
_TIER = """\
    item [{number}]:
        class = "IntervalTier"
        name = "{name}"
        xmin = 0.0
        xmax = {end}
        intervals: size = {count}
"""
_INTERVAL = """\
        intervals [{number}]:
            xmin = {start}
            xmax = {end}
            text = "{text}"
"""


def textgrid(timed: TimedText) -> str:
    """Return a TextGrid with one interval tier per tier; silences are intervals without text."""
    ends = [interval.end for tier in timed.tiers for interval in tier.intervals]
    end = max([timed.duration, _SHORTEST, *ends])
    head = _HEAD.format(end=end, tiers=len(timed.tiers))
    tiers = [
        _tier(number, tier, end, timed.joiner) for number, tier in enumerate(timed.tiers, start=1)
    ]
    return head + "".join(tiers)


def _tier(number: int, tier: Tier, end: float, joiner: str) -> str:
    filled = list(_fill(merge_empty(tier.intervals, joiner=joiner), end))
    intervals = [
        _INTERVAL.format(number=place, start=start, end=stop, text=text.replace('"', '""'))
        for place, (start, stop, text) in enumerate(filled, start=1)
    ]
    head = _TIER.format(number=number, name=tier.name, end=end, count=len(intervals))
    return head + "".join(intervals)


def _fill(intervals: Iterator[Interval], end: float) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and text of intervals that cover `[0, end)` without gaps."""
    position = 0.0
    for interval in intervals:
        if interval.start > position:
            yield position, interval.start, ""
        yield interval.start, interval.end, interval.text
        position = interval.end
    if end > position:
        yield position, end, ""
