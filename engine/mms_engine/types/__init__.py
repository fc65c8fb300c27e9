"""Values passed between the stages, and the choices of options.

NumPy is not imported here, so that the command line's help starts without it.
"""

from mms_engine.types.alignment import (
    AlignedCharacter,
    AlignedLine,
    AlignedWord,
    Alignment,
    Region,
)
from mms_engine.types.arrays import (
    Float32Array,
)
from mms_engine.types.choices import (
    BACKEND_NAMES,
    DEVICES,
    PRECISIONS,
    UNDETERMINED,
    AudioFormat,
    BackendName,
    ClipFormat,
    ContextKind,
    Device,
    DroppedKind,
    IdentificationAnswer,
    Latency,
    LmUnit,
    NormalizationScope,
    NumberPolicy,
    Pooling,
    Precision,
    RegionKind,
    SampleFormat,
    SegmentUnit,
    SpokenNumbers,
    Stars,
    TextUnit,
    VoiceDetector,
    WordTimes,
)
from mms_engine.types.embedding import (
    Embedding,
)
from mms_engine.types.identification import (
    Identification,
    LanguageScore,
    LanguageWindow,
)
from mms_engine.types.recognition import (
    Alternative,
    Audio,
    LanguageSegment,
    Span,
    Transcript,
    Word,
)
from mms_engine.types.speech import (
    Dropped,
    Speech,
    Spoken,
    SpokenWord,
)

__all__ = [
    "BACKEND_NAMES",
    "DEVICES",
    "PRECISIONS",
    "UNDETERMINED",
    "AlignedCharacter",
    "AlignedLine",
    "AlignedWord",
    "Alignment",
    "Alternative",
    "Audio",
    "AudioFormat",
    "BackendName",
    "ClipFormat",
    "ContextKind",
    "Device",
    "Dropped",
    "DroppedKind",
    "Embedding",
    "Float32Array",
    "Identification",
    "IdentificationAnswer",
    "LanguageScore",
    "LanguageSegment",
    "LanguageWindow",
    "Latency",
    "LmUnit",
    "NormalizationScope",
    "NumberPolicy",
    "Pooling",
    "Precision",
    "Region",
    "RegionKind",
    "SampleFormat",
    "SegmentUnit",
    "Span",
    "Speech",
    "Spoken",
    "SpokenNumbers",
    "SpokenWord",
    "Stars",
    "TextUnit",
    "Transcript",
    "VoiceDetector",
    "Word",
    "WordTimes",
]
