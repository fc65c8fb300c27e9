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
from mms_engine.decoding.interface import DecodeRow
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
    def warnings(self) -> tuple[str, ...]:
        """Words of the language model and hotwords that cannot be used."""
        return self.beam.warnings if self.beam else ()

    @property
    def index(self) -> int:
        """Index of its slot."""
        if self.slot is None:
            raise ValueError("the utterance has not begun, or is finished")
        return self.slot.index


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
    rows: tuple[DecodeRow, ...]


def prepare(
    emission: DeviceEmission,
    rows: Sequence[DecodeRow],
    kernels: Kernels,
    stream: CudaStream,
    workspace: Workspace,
) -> Batch:
    """Enqueue mms_frames on an emission and return the batch.

    Args:
        emission: Logits, at least one row and one frame.
        rows: Frames to decode, those of one utterance in order of time; their streams have slots.
        kernels: Loaded kernels.
        stream: CUDA stream of the decoders.
        workspace: Memory of one batch at a time.
    """
    count, frames, vocab = emission.logits.shape
    spans = np.zeros((2, count), np.int64)
    for index, row in enumerate(rows):
        spans[:, index] = row.kept.start, row.kept.stop - row.kept.start
    stream.wait(emission.ready)
    placed = workspace.upload(stream, "spans", spans)
    begins, lengths = (placed.rows(i, i + 1) for i in range(2))
    dtype = LOGITS_DTYPES[str(emission.logits.dtype)]
    address = emission.logits.address
    scores = ScoresBatch(address, count, frames, vocab, lengths.address, dtype, 0, begins.address)
    infos = workspace.device("frames", (count, frames), FRAME)
    launch = Launch((-(-frames * _WARP // _FRAMES_BLOCK), count), _FRAMES_BLOCK)
    kernels.launch("mms_frames", launch, stream, scores, Address(infos.address))
    waves = workspace.upload(stream, "waves", _waves(rows, count))
    launches = tuple(waves.rows(i, i + 1) for i in range(len(waves)))
    return Batch(scores, infos, lengths, launches, tuple(rows))


def check(rows: Sequence[DecodeRow], count: int, frames: int) -> None:
    """Raise ValueError for rows that are not in an emission of `count` rows of `frames` frames."""
    for index, row in enumerate(rows):
        start, stop = row.kept.start, row.kept.stop
        if not (index < count and 0 <= start <= stop <= frames):
            raise ValueError(
                f"frames {start} to {stop} of row {index} are not in an emission of "
                f"{count} rows of {frames} frames"
            )


def _waves(rows: Sequence[DecodeRow], count: int) -> npt.NDArray[np.int32]:
    """Assign successive launches to the rows of one utterance, the first one to all others."""
    turns: dict[int, int] = {}
    placed = []
    for index, row in enumerate(rows):
        slot = row.decoding.index
        turns[slot] = turns.get(slot, -1) + 1
        placed.append((turns[slot], index, slot))
    waves = np.full((max(turns.values(), default=-1) + 1, count), -1, np.int32)
    for turn, index, slot in placed:
        waves[turn, index] = slot
    return waves
