"""Prefix beam search on the GPU."""

import ctypes
import math
from collections.abc import Sequence

import numpy as np

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.kernels import Kernels, Launch
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.cuda.workspace import Workspace
from mms_engine.decoding.device.batch import Batch, DecodingStream
from mms_engine.decoding.device.models import DeviceModels
from mms_engine.decoding.device.search import Settled, joined
from mms_engine.decoding.device.state import (
    Slot,
    StreamTable,
    TableLayout,
    TokenBuffers,
    TokenPiece,
)
from mms_engine.decoding.hypothesis import Hypothesis
from mms_engine.decoding.search import BeamConfig, LanguageBeam
from mms_engine.errors import BackendError
from mms_engine.text.vocabulary import BLANK
from mms_kernels import BeamOptions
from mms_kernels.cuda import arguments
from mms_kernels.cuda.arguments import (
    MAX_BEAM,
    STATUS,
    BeamArgs,
    BeamOutput,
    BeamScoring,
    beam_least_arena,
)
from mms_kernels.cuda.models import longest_word
from mms_kernels.lm import NgramModel

# Prefixes and spans per hypothesis beyond the minimum of the arena: 9,600 in all at beam size 50,
# about 0.5 MB. A full arena shortens the lookback.
_ROOM = 128
# A word takes at most this many times its bytes once it is written with the letters of a language.
_FOLDED = 4
# With models, tokens beyond the most likely ones of a frame do not extend hypotheses: each has less
# than 1/512 of the probability, and their memory would grow with the vocabulary.
_MODEL_CHOICES = 512
_BLOCKS = (32, 256)
_FINISHED_AT_ONCE = 64


class DeviceBeam:
    """Prefix beam search: the hypotheses of `mms_kernels.BeamDecoder`, scores within 1e-5."""

    @staticmethod
    def check(config: BeamConfig) -> None:
        """Check that the kernels support a search.

        Raises:
            BackendError: the beam is too large, or a language model is a KenLM binary.
            LanguageModelError: a language model cannot be read.
        """
        if config.beam_size > MAX_BEAM:
            raise BackendError(
                f"a beam of {config.beam_size} is not decoded on the GPU, at most {MAX_BEAM} is"
            )
        if not all(isinstance(lm, NgramModel) for lm in config.models.all()):
            raise BackendError("a KenLM binary is not used on the GPU: use its ARPA file instead")

    def __init__(
        self, device: CudaDevice, kernels: Kernels, stream: CudaStream, config: BeamConfig
    ) -> None:
        """Start without streams; `config` must pass `check`."""
        self._kernels = kernels
        self._stream = stream
        self._wanted = config.wanted
        self._options = BeamOptions(beam_size=config.beam_size, blank=BLANK)
        models = [lm for lm in config.models.all() if isinstance(lm, NgramModel)]
        longest = _FOLDED * max(map(longest_word, models), default=0)
        least = beam_least_arena(config.beam_size, longest)
        self._arena = least + _ROOM * config.beam_size
        self._models = DeviceModels(device, stream)
        self._workspace = Workspace(device)
        self._table = StreamTable(device, stream, self._layout())

    def begin(self, streams: Sequence[DecodingStream]) -> None:
        """Allocate and initialise the state of streams."""
        for stream in streams:
            scoring = self._models.scoring(stream, _beam(stream))
            stream.slot = Slot(self._table)
            element = np.frombuffer(bytes(scoring), np.uint8)
            place = self._table["scorings"].rows(stream.index, stream.index + 1)
            self._stream.upload(place, element)
        args = self._args(self._slots(streams))
        args.status = self._workspace.device("status", (len(streams),), arguments.STATUS).address
        self._kernels.launch("mms_beam_begin", Launch((len(streams), 1), 32), self._stream, args)
        self._stream.synchronize()  # the pinned memory of the slots is reused

    def launch(self, batch: Batch) -> Settled:
        """Enqueue the decoding of a batch; see `DeviceSearch.launch`."""
        rows, frames = batch.frames.shape
        vocab = int(batch.scores.vocab)
        is_plain = all(_is_plain(_beam(row.decoding)) for row in batch.rows)
        choices = self._choices(vocab, is_plain=is_plain)
        settled = Settled(
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
            args.settled = settled.tokens.view()
            args.settled_counts = settled.counts.address
            args.status = settled.status.address
            tokens = Launch((frames, rows), block, 8 * choices)
            self._kernels.launch("mms_beam_tokens", tokens, self._stream, args)
            size, threads = self._options.beam_size, arguments.beam_threads(self._options.beam_size)
            shared = arguments.beam_step_shared_bytes(size, threads)
            step = Launch((rows, 1), threads, shared)
            self._kernels.launch("mms_beam_step", step, self._stream, args)
        return settled

    def finish(self, streams: Sequence[DecodingStream]) -> list[list[Hypothesis]]:
        """Return the hypotheses of each stream; see `DeviceSearch.finish`."""
        found = []
        for start in range(0, len(streams), _FINISHED_AT_ONCE):
            some = streams[start : start + _FINISHED_AT_ONCE]
            frames = max(stream.frames for stream in some)
            capacity = max(1, min(self._arena, frames))
            results = _BeamResults(self._workspace, len(some), self._wanted, capacity)
            args = self._args(self._slots(some))
            args.marks = self._workspace.device("marks", (len(some), self._arena), np.int32).address
            args.status = results.status.address
            step = Launch((len(some), 1), arguments.beam_threads(self._options.beam_size))
            output = results.output()
            self._kernels.launch("mms_beam_results", step, self._stream, args, output)
            found += results.download(self._stream, [stream.pieces for stream in some])
        return found

    def _layout(self) -> TableLayout:
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

    def _choices(self, vocab: int, *, is_plain: bool) -> int:
        """Return the candidate tokens per frame, fewer if only the acoustic model scores."""
        if is_plain:
            return arguments.beam_exact_choices(self._options.beam_size, vocab)
        return max(1, min(vocab - 1, _MODEL_CHOICES))

    def free(self) -> None:
        """Free the memory."""
        self._models.free()
        self._workspace.free()
        self._table.free()


def _beam(stream: DecodingStream) -> LanguageBeam:
    if stream.beam is None:
        raise ValueError("the utterance was begun for greedy decoding")
    return stream.beam


def _is_plain(beam: LanguageBeam) -> bool:
    """Whether the acoustic model alone scores."""
    options = beam.options
    has_lm = beam.lm is not None and options.lm_weight != 0
    return not has_lm and beam.hotwords is None and options.word_score == 0


class _BeamResults:
    """Output arrays of mms_beam_results and their download."""

    def __init__(self, workspace: Workspace, rows: int, wanted: int, capacity: int) -> None:
        """Allocate `wanted` hypotheses per row, of at most `capacity` tokens each."""
        self._shape = (rows, wanted)
        self._workspace = workspace
        self._tokens = TokenBuffers(workspace, "results", rows * wanted, capacity)
        self._counts = workspace.device("result_counts", self._shape, np.int64)
        self._stable = workspace.device("stable", (rows,), np.int64)
        self._numbers = {
            name: workspace.device(name, self._shape, np.float64)
            for name in ("log_probs", "lm_scores", "bonuses", "scores")
        }
        self.status = workspace.device("status", (rows,), STATUS)

    def output(self) -> BeamOutput:
        """Return the kernel's argument."""
        numbers = {name: array.address for name, array in self._numbers.items()}
        return BeamOutput(
            tokens=self._tokens.view(),
            counts=self._counts.address,
            stable=self._stable.address,
            **numbers,
            nbest=self._shape[1],
            finish=1,
        )

    def download(
        self, stream: CudaStream, pieces: Sequence[Sequence[TokenPiece]]
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses of each row after its `pieces`; waits for the stream."""
        counts = self._workspace.host("result_counts", self._shape, np.int64)
        scores, log_probs = (
            self._workspace.host(name, self._shape, np.float64) for name in ("scores", "log_probs")
        )
        stream.download(counts, self._counts)
        stream.download(scores, self._numbers["scores"])
        stream.download(log_probs, self._numbers["log_probs"])
        stream.synchronize()
        tokens = self._tokens.download(stream, counts.ravel().tolist())
        rows, wanted = self._shape
        return [
            [
                joined(
                    [*pieces[row], tokens[row * wanted + rank]],
                    float(scores[row, rank]),
                    float(log_probs[row, rank]),
                )
                for rank in range(wanted)
                if scores[row, rank] > -math.inf
            ]
            for row in range(rows)
        ]
