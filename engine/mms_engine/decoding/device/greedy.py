"""Greedy decoding on the device."""

from collections.abc import Sequence

import numpy as np

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.kernels import Kernels, Launch
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.cuda.workspace import Workspace
from mms_engine.decoding.device.batch import Batch, DecodingStream
from mms_engine.decoding.device.search import Settled, joined
from mms_engine.decoding.device.state import Slot, StreamTable, TokenBuffers
from mms_engine.decoding.hypothesis import Hypothesis
from mms_engine.text.vocabulary import BLANK
from mms_kernels.cuda.arguments import GREEDY_STREAM, STATUS, GreedyArgs

_BLOCK = 32


class DeviceGreedy:
    """Greedy decoding: the results of `mms_kernels.GreedyDecoder`."""

    def __init__(self, device: CudaDevice, kernels: Kernels, stream: CudaStream) -> None:
        self._kernels = kernels
        self._stream = stream
        self._table = StreamTable(device, stream, {"streams": ((), GREEDY_STREAM)})
        self._workspace = Workspace(device)

    def begin(self, streams: Sequence[DecodingStream]) -> None:
        """Allocate and initialise the state of streams."""
        first = np.zeros(1, GREEDY_STREAM)
        first["open"] = BLANK
        for stream in streams:
            stream.slot = Slot(self._table)
            place = self._table["streams"].rows(stream.index, stream.index + 1)
            self._stream.upload(place, first)

    def launch(self, batch: Batch) -> Settled:
        """Enqueue the decoding of a batch; see `DeviceSearch.launch`."""
        rows, frames = batch.frames.shape
        settled = self._settled(rows, frames + 1)
        for wave in batch.waves:
            args = self._args(settled, batch.lengths, wave)
            args.frames, args.frame_stride = batch.frames.address, frames
            self._kernels.launch("mms_greedy", Launch((rows, 1), _BLOCK), self._stream, args)
        return settled

    def finish(self, streams: Sequence[DecodingStream]) -> list[list[Hypothesis]]:
        """Return the hypothesis of each stream."""
        rows = len(streams)
        slots = np.array([stream.index for stream in streams], np.int32)
        lengths = self._workspace.upload(self._stream, "lengths", np.zeros(rows, np.int64))
        settled = self._settled(rows, 1)
        args = self._args(settled, lengths, self._workspace.upload(self._stream, "slots", slots))
        args.finish = 1
        self._kernels.launch("mms_greedy", Launch((rows, 1), _BLOCK), self._stream, args)
        counts = self._workspace.host("counts", (rows,), np.int64)
        self._stream.download(counts, settled.counts)
        self._stream.synchronize()
        rest = settled.tokens.download(self._stream, counts.tolist())
        return [
            [joined([*stream.pieces, tokens])] for stream, tokens in zip(streams, rest, strict=True)
        ]

    def _settled(self, rows: int, capacity: int) -> Settled:
        return Settled(
            self._workspace.device("status", (rows,), STATUS),
            self._workspace.device("counts", (rows,), np.int64),
            TokenBuffers(self._workspace, "tokens", rows, capacity),
        )

    def _args(self, settled: Settled, lengths: DeviceArray, slots: DeviceArray) -> GreedyArgs:
        args = GreedyArgs(
            lengths=lengths.address,
            slots=slots.address,
            streams=self._table.address("streams"),
            status=settled.status.address,
            counts=settled.counts.address,
            capacity=settled.tokens.capacity,
            blank=BLANK,
        )
        args.ids, args.starts, args.ends, args.scores, args.peaks = settled.tokens.addresses
        return args

    def free(self) -> None:
        """Free the memory."""
        self._table.free()
        self._workspace.free()
