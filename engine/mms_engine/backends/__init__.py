"""Libraries that run graphs, behind one small interface."""

from mms_engine.backends.base import Constant, Session, SessionOptions
from mms_engine.backends.registry import Availability, Choice, available, choose, open_session

__all__ = [
    "Availability",
    "Choice",
    "Constant",
    "Session",
    "SessionOptions",
    "available",
    "choose",
    "open_session",
]
