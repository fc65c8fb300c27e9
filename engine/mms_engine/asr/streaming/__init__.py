"""Streaming recognition: live audio to partial and final text."""

from mms_engine.asr.streaming.events import Endpoint, Event, Final, LanguageChange, Partial
from mms_engine.asr.streaming.options import (
    LATENCIES,
    ContextOptions,
    EndpointOptions,
    StreamOptions,
)
from mms_engine.asr.streaming.stream import Stream
from mms_engine.audio.running_norm import NormalizationOptions

__all__ = [
    "LATENCIES",
    "ContextOptions",
    "Endpoint",
    "EndpointOptions",
    "Event",
    "Final",
    "LanguageChange",
    "NormalizationOptions",
    "Partial",
    "Stream",
    "StreamOptions",
]
