"""The formats by name."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from mms_engine.types import Transcript


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write a transcript."""

    suffix: str
    """Of the files."""
    home: str
    """Module with the writer."""
    writer: str
    """Function of the transcript and the name of the recording that returns the file's text."""


FORMATS: Mapping[str, Format] = {
    "text": Format(".txt", "mms_engine.formats.plain", "text"),
    "json": Format(".json", "mms_engine.formats.plain", "json"),
    "srt": Format(".srt", "mms_engine.formats.subtitles", "srt"),
    "vtt": Format(".vtt", "mms_engine.formats.subtitles", "vtt"),
    "ctm": Format(".ctm", "mms_engine.formats.plain", "ctm"),
    "textgrid": Format(".TextGrid", "mms_engine.formats.textgrid", "textgrid"),
}


def render(transcript: Transcript, name: str, *, format_name: str) -> str:
    """Return the text of a file in a format of `FORMATS`, ending in a newline.

    Args:
        transcript: What to write.
        name: Of the recording, for formats that carry it.
        format_name: A key of `FORMATS`.
    """
    chosen = FORMATS[format_name]
    writer = getattr(importlib.import_module(chosen.home), chosen.writer)
    written: str = writer(transcript, name)
    return written
