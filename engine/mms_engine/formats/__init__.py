"""Transcript formats: text, JSON, subtitles, CTM and TextGrid."""

from mms_engine.formats.registry import FORMATS, Format, render

__all__ = ["FORMATS", "Format", "render"]
