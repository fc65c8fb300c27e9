"""Serve MMS speech models: every language's adapter is a binding of one graph.

    from mms_engine import Recognizer

    recognizer = Recognizer.open("bundle")
    print(recognizer.transcribe("clip.flac", "eng").text)

Names are loaded when they are first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms_engine.asr import Job, Recognizer
    from mms_engine.bundle import Bundle, open_bundle
    from mms_engine.errors import MmsError
    from mms_engine.options import BeamSearch, RecognizerOptions
    from mms_engine.types import Alternative, Audio, Transcript, Word

__all__ = [
    "Alternative",
    "Audio",
    "BeamSearch",
    "Bundle",
    "Job",
    "MmsError",
    "Recognizer",
    "RecognizerOptions",
    "Transcript",
    "Word",
    "open_bundle",
]

_HOMES = {
    "Alternative": "mms_engine.types",
    "Audio": "mms_engine.types",
    "BeamSearch": "mms_engine.options",
    "Bundle": "mms_engine.bundle",
    "Job": "mms_engine.asr",
    "MmsError": "mms_engine.errors",
    "Recognizer": "mms_engine.asr",
    "RecognizerOptions": "mms_engine.options",
    "Transcript": "mms_engine.types",
    "Word": "mms_engine.types",
    "open_bundle": "mms_engine.bundle",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
