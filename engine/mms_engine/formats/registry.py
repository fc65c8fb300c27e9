"""Transcript formats by name. A writer's module is loaded with its first use."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from mms_engine.types import Transcript


@dataclass(frozen=True, slots=True)
class Format:
    """A transcript format."""

    suffix: str
    """Suffix of its files."""
    module: str
    """Module of the writer."""
    writer: str
    """Function from a transcript and the recording's name to the text of the file."""


FORMATS: Mapping[str, Format] = {
    "text": Format(".txt", "mms_engine.formats.plain", "text"),
    "json": Format(".json", "mms_engine.formats.plain", "json"),
    "srt": Format(".srt", "mms_engine.formats.subtitles", "srt"),
    "vtt": Format(".vtt", "mms_engine.formats.subtitles", "vtt"),
    "ctm": Format(".ctm", "mms_engine.formats.plain", "ctm"),
    "textgrid": Format(".TextGrid", "mms_engine.formats.textgrid", "textgrid"),
}


def render(transcript: Transcript, name: str, *, format_name: str) -> str:
    """Return a transcript in one of `FORMATS`, ending in a newline unless it is empty.

    Args:
        transcript: The transcript.
        name: Name of the recording, for formats that contain it.
        format_name: A key of `FORMATS`.
    """
    chosen = FORMATS[format_name]
    writer = getattr(importlib.import_module(chosen.module), chosen.writer)
    written: str = writer(transcript, name)
    return written
