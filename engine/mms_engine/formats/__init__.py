"""Output formats: text, JSON, subtitles, CTM, TextGrid, ELAN, Audacity labels and CSV."""

from mms_engine.formats.registry import (
    ALIGNMENT_FORMATS,
    FORMATS,
    TIMED_FORMATS,
    Format,
    check_installed,
    render,
    render_alignment,
    render_timed,
)
from mms_engine.formats.timed_text import Interval, Tier, TimedText, from_transcript

__all__ = [
    "ALIGNMENT_FORMATS",
    "FORMATS",
    "TIMED_FORMATS",
    "Format",
    "Interval",
    "Tier",
    "TimedText",
    "check_installed",
    "from_transcript",
    "render",
    "render_alignment",
    "render_timed",
]
