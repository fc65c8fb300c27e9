"""What a launch of the decode kernels reads: an emission, and which stream each row goes to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.decode_state import Slot, TokenPiece, Workspace
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.modules import Kernels, Launch
from mms_engine.cuda.streams import Stream
from mms_engine.vocab import Vocabulary
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


class DeviceLogits(Protocol):
    """Logits of a batch where the encoder left them."""

    @property
    def logits(self) -> DeviceArray:
        """Shape `[B, T, V]`: float32, float16, or the bits of bfloat16 as uint16.

        They are -inf beyond the vocabulary of a row's language.
        """
        ...

    @property
    def stream(self) -> Stream:
        """What is given to it comes after they were written, and before they are overwritten."""
        ...


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
    logits: DeviceArray,
    chunks: Sequence[Chunk],
    kernels: Kernels,
    stream: Stream,
    workspace: Workspace,
) -> Batch:
    """Look at the frames of an emission; returns at once.

    Args:
        logits: As in `DeviceLogits`, at least one row and one frame.
        chunks: Those of one utterance in order of time; their streams have slots.
        kernels: To look with.
        stream: Where that runs.
        workspace: Of one batch at a time.
    """
    rows, frames, vocab = logits.shape
    spans = np.zeros((2, rows), np.int64)
    for chunk in chunks:
        spans[:, chunk.row] = chunk.frames.start, chunk.frames.stop - chunk.frames.start
    placed = workspace.upload(stream, "spans", spans)
    begins, lengths = (placed.rows(i, i + 1) for i in range(2))
    scores = ScoresBatch(logits.address, rows, frames, vocab, lengths.address)
    scores.dtype, scores.begins = _DTYPES[str(logits.dtype)], begins.address
    infos = workspace.device("frames", (rows, frames), FRAME)
    launch = Launch((-(-frames * _WARP // _FRAMES_BLOCK), rows), _FRAMES_BLOCK)
    kernels.launch("mms_frames", launch, stream, scores, Address(infos.address))
    waves = workspace.upload(stream, "waves", _waves(chunks, rows))
    launches = tuple(waves.rows(i, i + 1) for i in range(len(waves)))
    return Batch(scores, infos, lengths, launches, tuple(chunks))


def check(chunks: Sequence[Chunk], logits: DeviceArray) -> None:
    """Raise ValueError for logits of another type, or chunks that are not there."""
    if len(logits.shape) != 3 or str(logits.dtype) not in _DTYPES:
        got = f"{logits.dtype}{list(logits.shape)}"
        raise ValueError(f"logits must be float32, float16 or uint16 [B, T, V], got {got}")
    rows, frames, _ = logits.shape
    for chunk in chunks:
        start, stop = chunk.frames.start, chunk.frames.stop
        if not (0 <= chunk.row < rows and 0 <= start <= stop <= frames):
            raise ValueError(
                f"frames {start} to {stop} of row {chunk.row} are not in an emission of "
                f"{rows} rows of {frames} frames"
            )


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
