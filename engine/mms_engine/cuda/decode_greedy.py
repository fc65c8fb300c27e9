"""Greedy decoding on the device."""

from collections.abc import Sequence

import numpy as np

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.decode_batch import Batch, DecodingStream
from mms_engine.cuda.decode_search import Handed, joined
from mms_engine.cuda.decode_state import Slot, StreamTable, TokenBuffers, Workspace
from mms_engine.cuda.kernels import Kernels, Launch
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import Stream
from mms_engine.decode import Hypothesis
from mms_engine.text.vocabulary import BLANK
from mms_kernels.cuda.arguments import GREEDY_STREAM, STATUS, GreedyArgs

_BLOCK = 32


class DeviceGreedy:
    """The most likely token of each frame: the results of `mms_kernels.GreedyDecoder`."""

    def __init__(self, device: CudaDevice, kernels: Kernels, stream: Stream) -> None:
        self._kernels = kernels
        self._stream = stream
        self._table = StreamTable(device, stream, {"streams": ((), GREEDY_STREAM)})
        self._workspace = Workspace(device)

    def begin(self, streams: Sequence[DecodingStream]) -> None:
        """Give streams their slots."""
        first = np.zeros(1, GREEDY_STREAM)
        first["open"] = BLANK
        for stream in streams:
            stream.slot = Slot(self._table)
            place = self._table["streams"].rows(stream.index, stream.index + 1)
            self._stream.upload(place, first)

    def launch(self, batch: Batch) -> Handed:
        """Read a batch; returns at once."""
        rows, frames = batch.frames.shape
        handed = self._handed(rows, frames + 1)
        for wave in batch.waves:
            args = self._args(handed, batch.lengths, wave)
            args.frames, args.frame_stride = batch.frames.address, frames
            self._kernels.launch("mms_greedy", Launch((rows, 1), _BLOCK), self._stream, args)
        return handed

    def finish(self, streams: Sequence[DecodingStream]) -> list[list[Hypothesis]]:
        """Return of each stream what was found."""
        rows = len(streams)
        slots = np.array([stream.index for stream in streams], np.int32)
        lengths = self._workspace.upload(self._stream, "lengths", np.zeros(rows, np.int64))
        handed = self._handed(rows, 1)
        args = self._args(handed, lengths, self._workspace.upload(self._stream, "slots", slots))
        args.finish = 1
        self._kernels.launch("mms_greedy", Launch((rows, 1), _BLOCK), self._stream, args)
        counts = np.empty(rows, np.int64)
        self._stream.download(counts, handed.counts)
        self._stream.synchronize()
        rest = handed.tokens.download(self._stream, counts.tolist())
        return [
            [joined([*stream.pieces, tokens])] for stream, tokens in zip(streams, rest, strict=True)
        ]

    def _handed(self, rows: int, capacity: int) -> Handed:
        return Handed(
            self._workspace.device("status", (rows,), STATUS),
            self._workspace.device("counts", (rows,), np.int64),
            TokenBuffers(self._workspace, "tokens", rows, capacity),
        )

    def _args(self, handed: Handed, lengths: DeviceArray, slots: DeviceArray) -> GreedyArgs:
        args = GreedyArgs(
            lengths=lengths.address,
            slots=slots.address,
            streams=self._table.address("streams"),
            status=handed.status.address,
            counts=handed.counts.address,
            capacity=handed.tokens.capacity,
            blank=BLANK,
        )
        args.ids, args.starts, args.ends, args.scores, args.peaks = handed.tokens.addresses
        return args

    def free(self) -> None:
        """Give the memory back."""
        self._table.free()
        self._workspace.free()
