"""Batches of the decode kernels: logits of an emission, and the utterance of each row."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.kernels import Kernels, Launch
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.cuda.workspace import Workspace
from mms_engine.decoding.device.state import Slot, TokenPiece
from mms_engine.decoding.search import LanguageBeam
from mms_engine.encoder.device.emission import LOGITS_DTYPES, DeviceEmission
from mms_kernels.cuda.arguments import FRAME, Address, ScoresBatch

_FRAMES_BLOCK = 256
_WARP = 32


@dataclass(slots=True, eq=False, weakref_slot=True)
class DecodingStream:
    """Host part of an utterance's decoder state; see `Decoding`."""

    language: str
    beam: LanguageBeam | None = None
    """Its beam search; `None` for greedy decoding."""
    own: bool = False
    """Whether `beam` is its own rather than that of its language."""
    slot: Slot | None = None
    """Slot of its device state; `None` before the first frames and after the end."""
    frames: int = 0
    """Frames decoded."""
    pieces: list[TokenPiece] = field(default_factory=list)
    """Tokens that were downloaded."""
    error: str = ""
    """Why its logits are undecodable; empty if they are not."""

    @property
    def index(self) -> int:
        """Index of its slot."""
        if self.slot is None:
            raise ValueError("the utterance has not begun, or is finished")
        return self.slot.index


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Next frames of an utterance, in a row of the emission."""

    stream: DecodingStream
    row: int
    frames: slice
    """Start and stop in the row, without a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Arguments of the decode kernels for one emission."""

    scores: ScoresBatch
    frames: DeviceArray
    """Output of mms_frames, `[B, T]`."""
    lengths: DeviceArray
    """Int64 `[B]`."""
    waves: tuple[DeviceArray, ...]
    """Slots of the rows in each launch, int32 `[B]`; -1 for skipped rows."""
    chunks: tuple[Chunk, ...]


def prepare(
    emission: DeviceEmission,
    chunks: Sequence[Chunk],
    kernels: Kernels,
    stream: CudaStream,
    workspace: Workspace,
) -> Batch:
    """Enqueue mms_frames on an emission and return the batch.

    Args:
        emission: Logits, at least one row and one frame.
        chunks: Frames to decode, those of one utterance in order of time; their streams have slots.
        kernels: Loaded kernels.
        stream: CUDA stream of the decoders.
        workspace: Memory of one batch at a time.
    """
    rows, frames, vocab = emission.logits.shape
    spans = np.zeros((2, rows), np.int64)
    for chunk in chunks:
        spans[:, chunk.row] = chunk.frames.start, chunk.frames.stop - chunk.frames.start
    stream.wait(emission.ready)
    placed = workspace.upload(stream, "spans", spans)
    begins, lengths = (placed.rows(i, i + 1) for i in range(2))
    dtype = LOGITS_DTYPES[str(emission.logits.dtype)]
    address = emission.logits.address
    scores = ScoresBatch(address, rows, frames, vocab, lengths.address, dtype, 0, begins.address)
    infos = workspace.device("frames", (rows, frames), FRAME)
    launch = Launch((-(-frames * _WARP // _FRAMES_BLOCK), rows), _FRAMES_BLOCK)
    kernels.launch("mms_frames", launch, stream, scores, Address(infos.address))
    waves = workspace.upload(stream, "waves", _waves(chunks, rows))
    launches = tuple(waves.rows(i, i + 1) for i in range(len(waves)))
    return Batch(scores, infos, lengths, launches, tuple(chunks))


def check(chunks: Sequence[Chunk], rows: int, frames: int) -> None:
    """Raise ValueError for chunks that are not in the emission."""
    for chunk in chunks:
        start, stop = chunk.frames.start, chunk.frames.stop
        if not (0 <= chunk.row < rows and 0 <= start <= stop <= frames):
            raise ValueError(
                f"frames {start} to {stop} of row {chunk.row} are not in an emission of "
                f"{rows} rows of {frames} frames"
            )


def _waves(chunks: Sequence[Chunk], rows: int) -> npt.NDArray[np.int32]:
    """Assign successive launches to the chunks of one utterance, the first one to all others."""
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
