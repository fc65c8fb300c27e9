"""Prefix beam search on the device."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.decode_batch import Batch, DecodingStream
from mms_engine.cuda.decode_models import DeviceModels
from mms_engine.cuda.decode_results import BeamResults
from mms_engine.cuda.decode_search import Handed
from mms_engine.cuda.decode_state import Layout, Slot, StreamTable, TokenBuffers, Workspace
from mms_engine.cuda.kernels import Kernels, Launch
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import Stream
from mms_engine.decode import Hypothesis
from mms_engine.searches import LanguageSearch
from mms_kernels import BeamOptions
from mms_kernels.cuda import arguments
from mms_kernels.cuda.arguments import BeamArgs, BeamScoring, beam_least_arena
from mms_kernels.cuda.models import longest_word
from mms_kernels.lm import NgramModel

# Prefixes and spans that a stream has room for beyond what it needs at least, for each hypothesis:
# 9,600 in all at 50, about 0.5 MB. Where that is too little less of the past is kept open.
_ROOM = 128
_BLOCKS = (32, 256)
_FINISHED_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class BeamPlan:
    """What the streams of a beam search have in common."""

    options: BeamOptions
    """But for what scores hypotheses beside the acoustic model."""
    lm: NgramModel | None
    wanted: int
    """Hypotheses of each stream."""
    search_of: Callable[[DecodingStream], LanguageSearch]
    """Gives what else scores the hypotheses of a stream."""


class DeviceBeam:
    """The most likely texts: the results of `mms_kernels.BeamDecoder`, scores to 1e-5."""

    def __init__(
        self, device: CudaDevice, kernels: Kernels, stream: Stream, plan: BeamPlan
    ) -> None:
        self._kernels = kernels
        self._stream = stream
        self._plan = plan
        self._options = plan.options
        least = beam_least_arena(plan.options.beam_size, longest_word(plan.lm) if plan.lm else 0)
        self._arena = least + _ROOM * plan.options.beam_size
        self._models = DeviceModels(device, stream, plan.lm)
        self._workspace = Workspace(device)
        self._table = StreamTable(device, stream, self._layout())
        self._is_plain = True

    def begin(self, streams: Sequence[DecodingStream]) -> None:
        """Give streams their slots."""
        for stream in streams:
            search = self._plan.search_of(stream)
            self._is_plain &= _is_plain(search)
            scoring = self._models.scoring(stream.language, search)
            stream.slot = Slot(self._table)
            element = np.frombuffer(bytes(scoring), np.uint8)
            place = self._table["scorings"].rows(stream.index, stream.index + 1)
            self._stream.upload(place, element)
        args = self._args(self._slots(streams))
        args.status = self._workspace.device("status", (len(streams),), arguments.STATUS).address
        self._kernels.launch("mms_beam_begin", Launch((len(streams), 1), 32), self._stream, args)
        self._stream.synchronize()  # the slots' staging memory is used again

    def launch(self, batch: Batch) -> Handed:
        """Read a batch; returns at once."""
        rows, frames = batch.frames.shape
        vocab = int(batch.scores.vocab)
        choices = self._choices(vocab)
        handed = Handed(
            self._workspace.device("status", (rows,), arguments.STATUS),
            self._workspace.device("counts", (rows,), np.int64),
            TokenBuffers(self._workspace, "settled", rows, self._arena + frames),
        )
        chosen = self._workspace.device("choices", (rows, frames, choices), arguments.BEAM_CHOICE)
        marks = self._workspace.device("marks", (rows, self._arena), np.int32)
        block = min(max(_BLOCKS[0], -(-vocab // 32) * 32), _BLOCKS[1])
        for wave in batch.waves:
            args = self._args(wave)
            args.scores, args.frames = batch.scores, batch.frames.address
            args.choices, args.choice_count = chosen.address, choices
            args.marks = marks.address
            args.settled = handed.tokens.view()
            args.settled_counts = handed.counts.address
            args.status = handed.status.address
            tokens = Launch((frames, rows), block, 8 * choices)
            self._kernels.launch("mms_beam_tokens", tokens, self._stream, args)
            step = Launch((rows, 1), arguments.beam_threads(self._options.beam_size))
            self._kernels.launch("mms_beam_step", step, self._stream, args)
        return handed

    def finish(self, streams: Sequence[DecodingStream]) -> list[list[Hypothesis]]:
        """Return of each stream the best hypotheses."""
        found = []
        for start in range(0, len(streams), _FINISHED_AT_ONCE):
            some = streams[start : start + _FINISHED_AT_ONCE]
            frames = max(stream.frames for stream in some)
            capacity = max(1, min(self._arena, frames))
            results = BeamResults(self._workspace, len(some), self._plan.wanted, capacity)
            args = self._args(self._slots(some))
            args.marks = self._workspace.device("marks", (len(some), self._arena), np.int32).address
            args.status = results.status.address
            step = Launch((len(some), 1), arguments.beam_threads(self._options.beam_size))
            output = results.output()
            self._kernels.launch("mms_beam_results", step, self._stream, args, output)
            found += results.download(self._stream, [stream.pieces for stream in some])
        return found

    def _layout(self) -> Layout:
        return {
            "streams": ((), arguments.BEAM_STREAM),
            "entries": ((self._options.beam_size, arguments.BEAM_ENTRY_BYTES), np.uint8),
            "nodes": ((self._arena,), arguments.BEAM_NODE),
            "heads": ((self._arena,), np.int32),
            "spans": ((self._arena,), arguments.BEAM_SPAN),
            "scorings": ((ctypes.sizeof(BeamScoring),), np.uint8),
        }

    def _args(self, slots: DeviceArray) -> BeamArgs:
        return BeamArgs(
            slots=slots.address,
            **{name: self._table.address(name) for name in self._layout()},
            arena=self._arena,
            lookback=self._options.lookback,
            beam_size=self._options.beam_size,
            blank=self._options.blank,
            token_min_logp=self._options.token_min_logp,
        )

    def _slots(self, streams: Sequence[DecodingStream]) -> DeviceArray:
        slots = np.array([stream.index for stream in streams], np.int32)
        return self._workspace.upload(self._stream, "slots", slots)

    def _choices(self, vocab: int) -> int:
        if self._is_plain:
            return arguments.beam_exact_choices(self._options.beam_size, vocab)
        return max(1, vocab - 1)

    def free(self) -> None:
        """Give the memory back."""
        self._models.free()
        self._workspace.free()
        self._table.free()


def _is_plain(search: LanguageSearch) -> bool:
    """Whether nothing but the acoustic model scores."""
    options = search.options
    has_lm = search.lm is not None and options.lm_weight != 0
    return not has_lm and search.hotwords is None and options.word_score == 0
