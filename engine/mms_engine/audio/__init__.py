"""Audio input: files, byte streams and PCM arrays as mono float32 at 16 kHz, normalised."""

from mms_engine.audio.convert import SAMPLE_RATE
from mms_engine.audio.limits import AudioLimits
from mms_engine.audio.normalization import Normalization, normalize, statistics
from mms_engine.audio.read import from_pcm, read_audio

__all__ = [
    "SAMPLE_RATE",
    "AudioLimits",
    "Normalization",
    "from_pcm",
    "normalize",
    "read_audio",
    "statistics",
]
