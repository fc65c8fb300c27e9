"""Backends: libraries that run graphs, behind one `Session` protocol."""

from mms_engine.backends.probes import Availability
from mms_engine.backends.registry import (
    BACKENDS,
    Choice,
    available,
    choose,
    open_file,
    open_session,
    rank,
)
from mms_engine.backends.session import Constant, Session, SessionOptions

__all__ = [
    "BACKENDS",
    "Availability",
    "Choice",
    "Constant",
    "Session",
    "SessionOptions",
    "available",
    "choose",
    "open_file",
    "open_session",
    "rank",
]
