"""Transcription while the sound is spoken."""

from mms_engine.streaming.events import Endpoint, Event, Final, Partial
from mms_engine.streaming.member import PooledStream
from mms_engine.streaming.options import (
    LATENCIES,
    ContextOptions,
    EndpointOptions,
    NormalizationOptions,
    StreamOptions,
)
from mms_engine.streaming.pool import PoolOptions, StreamPool
from mms_engine.streaming.stream import Stream

__all__ = [
    "LATENCIES",
    "ContextOptions",
    "Endpoint",
    "EndpointOptions",
    "Event",
    "Final",
    "NormalizationOptions",
    "Partial",
    "PoolOptions",
    "PooledStream",
    "Stream",
    "StreamOptions",
    "StreamPool",
]
