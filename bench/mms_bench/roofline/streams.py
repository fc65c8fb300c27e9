"""How many live streams hardware can keep up with at most."""

from dataclasses import dataclass

from mms_bench.roofline.hardware import Hardware
from mms_bench.roofline.model import bound, seconds
from mms_bench.roofline.work import Load, blocks
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.types import Precision

_MOST = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What each stream asks for: a run over a window each time a chunk has come in."""

    chunk: float = 0.5
    """Seconds between two runs of a stream."""
    window: float = 4.0
    """Seconds the encoder hears each time: the chunk and what is around it."""
    languages: int = 16
    """Different ones among the streams of a run."""


def step_seconds(
    architecture: Wav2Vec2Ctc,
    hardware: Hardware,
    pace: Pace,
    streams: int,
    precision: Precision,
    *,
    frame_seconds: float = 0.02,
) -> float:
    """Return the least time of a run that serves one chunk of each stream."""
    load = Load(
        rows=streams,
        frames=round(pace.window / frame_seconds),
        languages=min(streams, pace.languages),
        precision=precision,
    )
    return seconds(bound(blocks(architecture, load), load, hardware))


def most_streams(
    architecture: Wav2Vec2Ctc, hardware: Hardware, pace: Pace, precision: Precision
) -> int:
    """Return the largest number of streams whose runs end before their next chunks are there."""
    fits, fails = 0, _MOST
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if step_seconds(architecture, hardware, pace, middle, precision) <= pace.chunk:
            fits = middle
        else:
            fails = middle
    return fits
