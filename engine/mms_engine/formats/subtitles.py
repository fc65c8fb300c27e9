"""SubRip and WebVTT."""

import html
import textwrap

import pysubs2

from mms_engine.formats.cues import Cue, cues
from mms_engine.types import Transcript

_LINE = 42


def srt(transcript: Transcript, name: str) -> str:
    """Return SubRip."""
    del name
    return _write([_event(cue, cue.text) for cue in cues(transcript)], "srt")


def vtt(transcript: Transcript, name: str) -> str:
    """Return WebVTT, in which `&` and `<` are escaped."""
    del name
    escaped = [_event(cue, html.escape(cue.text, quote=False)) for cue in cues(transcript)]
    return _write(escaped, "vtt")


def _event(cue: Cue, text: str) -> pysubs2.SSAEvent:
    event = pysubs2.SSAEvent(start=round(cue.start * 1000), end=round(cue.end * 1000))
    event.plaintext = "\n".join(textwrap.wrap(text, _LINE)) or text
    return event


def _write(events: list[pysubs2.SSAEvent], format_name: str) -> str:
    subtitles = pysubs2.SSAFile()
    subtitles.events = events
    # Braces would be taken for SubStation tags and dropped.
    written: str = subtitles.to_string(format_name, keep_ssa_tags=True)
    return written.rstrip("\n") + "\n"
