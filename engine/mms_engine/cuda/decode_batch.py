"""What a launch of the decode kernels reads: an emission, and which stream each row goes to."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.decode_state import Slot, TokenPiece, Workspace
from mms_engine.cuda.kernels import Kernels, Launch
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import Event, Stream
from mms_engine.text.vocabulary import Vocabulary
from mms_kernels.cuda.arguments import FRAME, Address, ScoresBatch

_DTYPES = {"float32": 0, "float16": 1, "uint16": 2}
_FRAMES_BLOCK = 256
_WARP = 32


@dataclass(slots=True, eq=False)
class DecodingStream:
    """What the host knows of an utterance that is decoded on the device."""

    language: str
    vocabulary: Vocabulary
    slot: Slot | None = None
    """Where its state is; `None` before it has begun."""
    frames: int = 0
    """Frames read."""
    pieces: list[TokenPiece] = field(default_factory=list)
    """Tokens that have been handed over."""
    error: str = ""
    """What is wrong with its logits; empty where nothing is."""

    @property
    def index(self) -> int:
        """Where the state is."""
        if self.slot is None:
            raise ValueError("the utterance has not begun, or is finished")
        return self.slot.index


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Frames of a row that are an utterance's next."""

    stream: DecodingStream
    row: int
    frames: slice
    """Of the row: start and stop, no step."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceEmission:
    """Logits of a batch where the encoder left them."""

    logits: DeviceArray
    """Shape `[B, T, V]`: float32, float16, or the bits of bfloat16 as uint16. -inf beyond the
    vocabulary of a row's language."""
    ready: Event | None = None
    """Recorded when they were written; `None` where that was before the call."""

    def __post_init__(self) -> None:
        if len(self.logits.shape) != 3 or str(self.logits.dtype) not in _DTYPES:
            got = f"{self.logits.dtype}{list(self.logits.shape)}"
            raise ValueError(f"logits must be float32, float16 or uint16 [B, T, V], got {got}")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """An emission on its way through the kernels."""

    scores: ScoresBatch
    frames: DeviceArray
    """What mms_frames found, `[B, T]`."""
    lengths: DeviceArray
    """Int64 `[B]`."""
    waves: tuple[DeviceArray, ...]
    """For each launch the slot of each row, int32 `[B]`; -1 for the rows that wait or have none."""
    chunks: tuple[Chunk, ...]


def prepare(
    emission: DeviceEmission,
    chunks: Sequence[Chunk],
    kernels: Kernels,
    stream: Stream,
    workspace: Workspace,
) -> Batch:
    """Look at the frames of an emission; returns at once.

    Args:
        emission: At least one row and one frame.
        chunks: Those of one utterance in order of time; their streams have slots.
        kernels: To look with.
        stream: Where that runs.
        workspace: Of one batch at a time.
    """
    rows, frames, vocab = emission.logits.shape
    spans = np.zeros((2, rows), np.int64)
    for chunk in chunks:
        spans[:, chunk.row] = chunk.frames.start, chunk.frames.stop - chunk.frames.start
    if emission.ready is not None:
        stream.wait(emission.ready)
    placed = workspace.upload(stream, "spans", spans)
    begins, lengths = (placed.rows(i, i + 1) for i in range(2))
    dtype = _DTYPES[str(emission.logits.dtype)]
    address = emission.logits.address
    scores = ScoresBatch(address, rows, frames, vocab, lengths.address, dtype, 0, begins.address)
    infos = workspace.device("frames", (rows, frames), FRAME)
    launch = Launch((-(-frames * _WARP // _FRAMES_BLOCK), rows), _FRAMES_BLOCK)
    kernels.launch("mms_frames", launch, stream, scores, Address(infos.address))
    waves = workspace.upload(stream, "waves", _waves(chunks, rows))
    launches = tuple(waves.rows(i, i + 1) for i in range(len(waves)))
    return Batch(scores, infos, lengths, launches, tuple(chunks))


def check(chunks: Sequence[Chunk], rows: int, frames: int) -> None:
    """Raise ValueError for chunks that are not in an emission, or two of one row."""
    for chunk in chunks:
        start, stop = chunk.frames.start, chunk.frames.stop
        if not (0 <= chunk.row < rows and 0 <= start <= stop <= frames):
            raise ValueError(
                f"frames {start} to {stop} of row {chunk.row} are not in an emission of "
                f"{rows} rows of {frames} frames"
            )
    if len({chunk.row for chunk in chunks}) < len(chunks):
        raise ValueError("a row of an emission goes to one utterance, and once")


def _waves(chunks: Sequence[Chunk], rows: int) -> npt.NDArray[np.int32]:
    """Put the chunks of one utterance into one launch after the other, all else into the first."""
    turns: dict[int, int] = {}
    placed = []
    for chunk in chunks:
        slot = chunk.stream.index
        turns[slot] = turns.get(slot, -1) + 1
        placed.append((turns[slot], chunk.row, slot))
    waves = np.full((max(turns.values(), default=-1) + 1, rows), -1, np.int32)
    for turn, row, slot in placed:
        waves[turn, row] = slot
    return waves
