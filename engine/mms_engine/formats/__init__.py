"""Ways to write a transcript down. Each one's library is imported when it is first used."""

from mms_engine.formats.registry import FORMATS, Format, render

__all__ = ["FORMATS", "Format", "render"]
