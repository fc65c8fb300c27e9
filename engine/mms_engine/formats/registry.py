"""Output formats by name. A writer's module is loaded with its first use."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mms_engine.errors import MmsError
from mms_engine.formats.timed_text import TimedText, from_transcript
from mms_engine.types import Alignment, Transcript


@dataclass(frozen=True, slots=True)
class Format:
    """An output format."""

    suffix: str
    """Suffix of its files."""
    module: str
    """Module of the writer."""
    writer: str
    """Function from a `TimedText` to the text of the file."""
    needs: str = ""
    """Package of the extra [align] that the writer imports; empty for none."""


_TRANSCRIPT_FORMATS: Mapping[str, Format] = {
    "text": Format(".txt", "mms_engine.formats.plain", "text"),
    "json": Format(".json", "mms_engine.formats.plain", "json"),
}
"""Formats of transcripts alone: their writers read the transcript and the recording's name."""

TIMED_FORMATS: Mapping[str, Format] = {
    "srt": Format(".srt", "mms_engine.formats.subtitles", "srt"),
    "vtt": Format(".vtt", "mms_engine.formats.subtitles", "vtt"),
    "ctm": Format(".ctm", "mms_engine.formats.tables", "ctm"),
    "textgrid": Format(".TextGrid", "mms_engine.formats.textgrid", "textgrid"),
    "eaf": Format(".eaf", "mms_engine.formats.eaf", "eaf", needs="pympi"),
    "audacity": Format(".labels.txt", "mms_engine.formats.tables", "audacity"),
    "csv": Format(".csv", "mms_engine.formats.tables", "csv"),
}
"""Formats of timed text."""

ALIGNMENT_FORMATS: Mapping[str, Format] = {
    "json": Format(".json", "mms_engine.formats.alignment", "alignment_json"),
    **TIMED_FORMATS,
}
"""Formats of alignments."""

FORMATS: Mapping[str, Format] = {**_TRANSCRIPT_FORMATS, **TIMED_FORMATS}
"""Formats of transcripts."""


def check_installed(format_name: str) -> None:
    """Check that a format of `FORMATS` can be written, before anything is computed.

    Raises:
        MmsError: its package is not installed.
    """
    needs = FORMATS[format_name].needs
    if needs and importlib.util.find_spec(needs) is None:
        raise MmsError(
            f"the format {format_name} needs the package {needs}: pip install 'mms-engine[align]'"
        )


def render(transcript: Transcript, name: str, *, format_name: str, media: str = "") -> str:
    """Return a transcript in one of `FORMATS`, ending in a newline unless it is empty.

    Args:
        transcript: The transcript.
        name: Name of the recording, for formats that contain it.
        format_name: A key of `FORMATS`.
        media: Path of the recording, for formats that refer to it.
    """
    if format_name in TIMED_FORMATS:
        return render_timed(from_transcript(transcript, name, media), format_name=format_name)
    written: str = _writer(_TRANSCRIPT_FORMATS[format_name])(transcript, name)
    return written


def render_timed(timed: TimedText, *, format_name: str) -> str:
    """Return timed text in one of `TIMED_FORMATS`, ending in a newline unless it is empty."""
    written: str = _writer(TIMED_FORMATS[format_name])(timed)
    return written


def render_alignment(alignment: Alignment, name: str, *, format_name: str, media: str = "") -> str:
    """Return an alignment in one of `ALIGNMENT_FORMATS`; see `render` for the arguments."""
    from mms_engine.formats.alignment import alignment_json, from_alignment

    if format_name in TIMED_FORMATS:
        return render_timed(from_alignment(alignment, name, media), format_name=format_name)
    return alignment_json(alignment, name)


def _writer(chosen: Format) -> Any:  # noqa: ANN401
    return getattr(importlib.import_module(chosen.module), chosen.writer)
