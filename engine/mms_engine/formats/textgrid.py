"""Praat TextGrid, in the long text format."""

from collections.abc import Iterator

from mms_engine.types import Transcript, Word

_SHORTEST = 0.001
"""Duration in seconds of an empty recording: Praat has no interval of length zero."""
_HEAD = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0.0
xmax = {end}
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
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


def textgrid(transcript: Transcript, name: str) -> str:
    """Return a TextGrid with the interval tier `words`; silences are intervals without text."""
    del name
    end = max([transcript.duration, _SHORTEST, *(word.end for word in transcript.words)])
    intervals = [
        _INTERVAL.format(number=number, start=start, end=stop, text=text.replace('"', '""'))
        for number, (start, stop, text) in enumerate(_intervals(transcript.words, end), 1)
    ]
    return _HEAD.format(end=end, count=len(intervals)) + "".join(intervals)


def _intervals(words: tuple[Word, ...], end: float) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and text of intervals that cover `[0, end)` without gaps."""
    position = 0.0
    for word in words:
        if word.start > position:
            yield position, word.start, ""
        yield word.start, word.end, word.text
        position = word.end
    if end > position:
        yield position, end, ""
