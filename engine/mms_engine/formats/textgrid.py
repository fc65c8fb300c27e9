"""Praat TextGrid."""

from praatio.textgrid import IntervalTier
from praatio.utilities import textgrid_io

from mms_engine.types import Transcript


def textgrid(transcript: Transcript, name: str) -> str:
    """Return a TextGrid with one tier, `words`; Praat needs an interval for the silences too."""
    del name
    # Praat has no interval of no length, so an empty recording gets one of a millisecond.
    end = max([transcript.duration, 0.001, *(word.end for word in transcript.words)])
    entries = [(word.start, word.end, word.text) for word in transcript.words]
    tier = IntervalTier("words", entries, 0.0, end)
    fields = {
        "class": "IntervalTier",
        "name": tier.name,
        "xmin": tier.minTimestamp,
        "xmax": tier.maxTimestamp,
        "entries": tier.entries,
    }
    grid = {"xmin": 0.0, "xmax": end, "tiers": [fields]}
    written: str = textgrid_io.getTextgridAsStr(grid, "long_textgrid", includeBlankSpaces=True)
    return written
