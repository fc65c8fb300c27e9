"""SubRip and WebVTT subtitles."""

import html
import textwrap

from mms_engine.formats.cues import Cue, cues
from mms_engine.formats.timed_text import TimedText

_LINE = 42
"""Characters per line, as subtitle guides recommend."""


def srt(timed: TimedText) -> str:
    """Return SubRip."""
    blocks = [_block(number, cue, ",") for number, cue in enumerate(cues(timed), 1)]
    return "\n".join(blocks) or "\n"


def vtt(timed: TimedText) -> str:
    """Return WebVTT, with `&`, `<` and `>` escaped."""
    blocks = [_block(number, cue, ".", escape=True) for number, cue in enumerate(cues(timed), 1)]
    return "\n".join(["WEBVTT\n", *blocks])


def _block(number: int, cue: Cue, point: str, *, escape: bool = False) -> str:
    """Return a cue: its number, its times with a decimal `point`, and its lines."""
    lines = textwrap.wrap(cue.text, _LINE) or [cue.text]
    if escape:
        lines = [html.escape(line, quote=False) for line in lines]
    times = f"{_time(cue.start, point)} --> {_time(cue.end, point)}"
    return "\n".join([str(number), times, *lines]) + "\n"


def _time(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{point}{milliseconds:03}"
