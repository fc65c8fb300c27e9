"""Serving of MMS speech models: every language's adapter is a binding of one graph.

    from mms_engine import Recognizer

    with Recognizer.open("bundle") as recognizer:
        print(recognizer.transcribe("clip.flac", "eng").text)

Names are loaded on first use, so importing the package costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING

# ONNX Runtime 1.29 and later send usage data and keep files of it, unless this is set before its
# first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from mms_engine.align.aligner import Aligner
    from mms_engine.align.options import AlignerOptions
    from mms_engine.align.segments import Segment, SegmentOptions, segments
    from mms_engine.asr.jobs import Job, JobResult
    from mms_engine.asr.options import RecognizerOptions
    from mms_engine.asr.pool import PooledStream, PoolOptions, StreamPool
    from mms_engine.asr.recognizer import Recognizer
    from mms_engine.asr.streaming import (
        ContextOptions,
        Endpoint,
        EndpointOptions,
        Event,
        Final,
        LanguageChange,
        NormalizationOptions,
        Partial,
        Stream,
        StreamOptions,
    )
    from mms_engine.audio import AudioLimits, read_audio
    from mms_engine.bundle import Bundle, open_bundle
    from mms_engine.decoding.options import BeamSearch, LexiconSearch
    from mms_engine.embeddings.embedder import Embedder
    from mms_engine.embeddings.options import EmbedderOptions
    from mms_engine.encoder.windows import WindowOptions
    from mms_engine.errors import (
        AlignmentError,
        AudioError,
        BackendError,
        BundleCorrupt,
        BundleError,
        BundleFileMissing,
        CapacityError,
        DeviceLostError,
        DeviceMemoryError,
        LanguageError,
        LanguageModelError,
        MmsError,
        OutputError,
        PlanError,
        ServerError,
        StreamError,
        TextError,
    )
    from mms_engine.lid.identifier import Identifier
    from mms_engine.lid.options import IdentifierOptions
    from mms_engine.routing.options import RoutingOptions
    from mms_engine.routing.rerank import RerankWeights
    from mms_engine.routing.router import Router
    from mms_engine.tts.options import SpeechOptions, SynthesizerOptions
    from mms_engine.tts.synthesizer import Synthesizer
    from mms_engine.types import (
        AlignedCharacter,
        AlignedLine,
        AlignedWord,
        Alignment,
        Alternative,
        Audio,
        Dropped,
        Embedding,
        Identification,
        LanguageScore,
        LanguageSegment,
        LanguageWindow,
        Region,
        Span,
        Speech,
        Spoken,
        SpokenWord,
        Transcript,
        Word,
    )

_MODULES = {
    "align.aligner": ("Aligner",),
    "align.options": ("AlignerOptions",),
    "align.segments": ("Segment", "SegmentOptions", "segments"),
    "asr.jobs": ("Job", "JobResult"),
    "asr.options": ("RecognizerOptions",),
    "asr.pool": ("PoolOptions", "PooledStream", "StreamPool"),
    "asr.recognizer": ("Recognizer",),
    "asr.streaming": (
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
    ),
    "audio": ("AudioLimits", "read_audio"),
    "bundle": ("Bundle", "open_bundle"),
    "decoding.options": ("BeamSearch", "LexiconSearch"),
    "embeddings.embedder": ("Embedder",),
    "embeddings.options": ("EmbedderOptions",),
    "encoder.windows": ("WindowOptions",),
    "errors": (
        "AlignmentError",
        "AudioError",
        "BackendError",
        "BundleCorrupt",
        "BundleError",
        "BundleFileMissing",
        "CapacityError",
        "DeviceLostError",
        "DeviceMemoryError",
        "LanguageError",
        "LanguageModelError",
        "MmsError",
        "OutputError",
        "PlanError",
        "ServerError",
        "StreamError",
        "TextError",
    ),
    "lid.identifier": ("Identifier",),
    "lid.options": ("IdentifierOptions",),
    "routing.options": ("RoutingOptions",),
    "routing.rerank": ("RerankWeights",),
    "routing.router": ("Router",),
    "tts.options": ("SpeechOptions", "SynthesizerOptions"),
    "tts.synthesizer": ("Synthesizer",),
    "types": (
        "AlignedCharacter",
        "AlignedLine",
        "AlignedWord",
        "Alignment",
        "Alternative",
        "Audio",
        "Dropped",
        "Embedding",
        "Identification",
        "LanguageScore",
        "LanguageSegment",
        "LanguageWindow",
        "Region",
        "Span",
        "Speech",
        "Spoken",
        "SpokenWord",
        "Transcript",
        "Word",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "__version__",
    *_HOMES,
]


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("mms-engine")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
