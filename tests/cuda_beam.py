"""Streams of the prefix beam on the emulated device."""

from dataclasses import dataclass

import numpy as np

from cuda_emulation import TOKEN_TYPES, Device, codes
from mms_kernels import BeamTokens, Hypothesis
from mms_kernels.cuda import arguments
from mms_kernels.cuda.arguments import BeamArgs, BeamOutput, BeamScoring, TokenArrays


@dataclass
class Tokens:
    """Arrays for tokens with their times."""

    device: Device
    shape: tuple[int, ...]

    def __post_init__(self):
        zeros = self.device.zeros
        self.arrays = {name: zeros(self.shape, kind) for name, kind in TOKEN_TYPES.items()}

    def view(self):
        return TokenArrays(*[a.ctypes.data for a in self.arrays.values()], self.shape[-1])

    def read(self, place, count):
        return [array[place][:count] for array in self.arrays.values()]


class Beam:
    """A batch of streams, their state on the device."""

    def __init__(self, device, rows, vocab, *, beam_size=8, blank=0, **options):
        self.device = device
        self.rows = rows
        self.beam_size = beam_size
        choices = options.pop("choices", None)
        self.choices = choices or arguments.beam_exact_choices(beam_size, vocab)
        scoring = options.pop("scoring", BeamScoring(separator=-1))
        least = arguments.beam_least_arena(beam_size, scoring.longest_word)
        arena = options.pop("arena", least + 2000)
        self.arena = arena
        self.streams = device.zeros(rows, arguments.BEAM_STREAM)
        self.entries = device.zeros((rows, beam_size, arguments.BEAM_ENTRY_BYTES), np.uint8)
        self.nodes = device.zeros((rows, arena), arguments.BEAM_NODE)
        self.spans = device.zeros((rows, arena), arguments.BEAM_SPAN)
        self.heads, self.marks = device.zeros((2, rows, arena), np.int32)
        self.status = device.zeros(rows, arguments.STATUS)
        self.counts = device.zeros(rows, np.int64)
        scorings = (BeamScoring * rows)(*[scoring] * rows)
        self.scorings = device.put(np.frombuffer(bytes(scorings), np.uint8))
        self.threads = options.pop("threads", arguments.beam_threads(beam_size))
        self.settled = [[] for _ in range(rows)]
        self.args = BeamArgs(
            choice_count=self.choices,
            scorings=self.scorings.ctypes.data,
            streams=self.streams.ctypes.data,
            entries=self.entries.ctypes.data,
            nodes=self.nodes.ctypes.data,
            heads=self.heads.ctypes.data,
            spans=self.spans.ctypes.data,
            marks=self.marks.ctypes.data,
            arena=arena,
            settled_counts=self.counts.ctypes.data,
            status=self.status.ctypes.data,
            lookback=options.pop("lookback", 0),
            beam_size=beam_size,
            blank=blank,
            token_min_logp=options.pop("token_min_logp", -np.inf),
        )
        assert not options
        device.launch("mms_beam_begin", (rows,), 32, self.args)

    def step(self, data, lengths=None, *, kind="log_probs"):
        """Read frames of each stream; returns their codes."""
        rows, frames, _ = data.shape
        given = np.full(rows, frames) if lengths is None else np.asarray(lengths, np.int64)
        lengths = self.device.put(given)
        batch, infos = self.device.scores(data, lengths, kind)
        return self.launch(batch, infos)

    def launch(self, batch, infos, slots=None):
        """Read a batch whose row r is a chunk of stream `slots[r]`; returns the rows' codes."""
        rows, frames = infos.shape
        choices = self.device.zeros((rows, frames, self.choices), arguments.BEAM_CHOICE)
        out = Tokens(self.device, (rows, self.arena + frames))
        self.args.scores = batch
        self.args.frames = infos.ctypes.data
        self.args.choices = choices.ctypes.data
        self.args.settled = out.view()
        self.args.slots = None if slots is None else slots.ctypes.data
        if frames:
            grid = (frames, rows)
            threads, size = self.device.threads, 8 * self.choices
            self.device.launch("mms_beam_tokens", grid, threads, self.args, shared_bytes=size)
        size = arguments.beam_step_shared_bytes(self.beam_size, self.threads)
        self.device.launch("mms_beam_step", (rows,), self.threads, self.args, shared_bytes=size)
        for row, slot in enumerate(range(rows) if slots is None else slots):
            if slot >= 0:
                self.settled[slot].append(BeamTokens(*out.read(row, self.counts[row])))
        self.args.slots = None
        return codes(self.status)

    def rest(self, nbest=None, *, finish=True, capacity=None):
        """Return of each row what `mms_beam_results` finds, and how many tokens are stable."""
        nbest = nbest or self.beam_size
        shape = (self.rows, nbest)
        out = Tokens(self.device, (*shape, self.arena if capacity is None else capacity))
        counts, stable = self.device.zeros(shape, np.int64), self.device.zeros(self.rows, np.int64)
        floats = [self.device.zeros(shape) for _ in range(4)]
        pointers = [array.ctypes.data for array in (counts, stable, *floats)]
        output = BeamOutput(out.view(), *pointers, nbest, finish)
        self.device.launch("mms_beam_results", (self.rows,), self.threads, self.args, output)
        found = [
            [
                Hypothesis(*out.read((row, n), counts[row, n]), *[f[row, n] for f in floats])
                for n in range(nbest)
                if floats[-1][row, n] > -np.inf
            ]
            for row in range(self.rows)
        ]
        return found, stable

    def results(self, nbest=None, *, finish=True):
        """Return of each row its hypotheses, with the tokens that have been handed over."""
        found, _ = self.rest(nbest, finish=finish)
        return [
            [_joined(settled, one) for one in hypotheses]
            for settled, hypotheses in zip(self.settled, found, strict=True)
        ]


def _joined(settled, rest):
    names = ("tokens", "starts", "ends", "scores", "peaks")
    pieces = [*settled, rest]
    arrays = [np.concatenate([getattr(piece, name) for piece in pieces]) for name in names]
    return Hypothesis(*arrays, rest.log_prob, rest.lm_score, rest.bonus, rest.score)
