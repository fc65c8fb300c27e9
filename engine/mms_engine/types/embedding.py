"""Hidden states of recordings."""

from dataclasses import dataclass

from mms_engine.types.arrays import Float32Array
from mms_engine.types.recognition import Span


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Hidden states of a recording."""

    values: "Float32Array"
    """Shape `[H]` of a mean over all frames, `[T, H]` without pooling."""
    layer: int | None
    """Number of the hidden state; `None` for the last, behind the final layer norm."""
    frame_seconds: float
    """Seconds from the start of a frame to the start of the next."""
    seconds: float
    """Duration of the audio."""
    missing: tuple[Span, ...] = ()
    """Spans of the recording that are damaged, in order."""
    warnings: tuple[str, ...] = ()
    """Remarks about the recording; see `Audio.warnings`."""
