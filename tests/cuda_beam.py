"""Streams of the prefix beam on the emulated device."""

import numpy as np

from cuda_emulation import codes
from mms_kernels.cuda import arguments
from mms_kernels.cuda.arguments import BeamArgs, BeamOutput, BeamScoring, Code


class Beam:
    """A batch of streams, their state on the device."""

    def __init__(self, device, rows, vocab, *, beam_size=8, blank=0, **options):
        self.device = device
        self.rows = rows
        self.beam_size = beam_size
        choices = options.pop("choices", None)
        self.choices = choices or arguments.beam_exact_choices(beam_size, vocab)
        arena = options.pop("arena", 2000)
        self.streams = device.zeros(rows, arguments.BEAM_STREAM)
        self.entries = device.zeros((rows, beam_size, arguments.BEAM_ENTRY_BYTES), np.uint8)
        self.nodes = device.zeros((rows, arena), arguments.BEAM_NODE)
        self.heads, self.marks = device.zeros((2, rows, arena), np.int32)
        self.status = device.zeros(rows, arguments.STATUS)
        self.threads = options.pop("threads", arguments.beam_threads(beam_size))
        self.args = BeamArgs(
            choice_count=self.choices,
            streams=self.streams.ctypes.data,
            entries=self.entries.ctypes.data,
            nodes=self.nodes.ctypes.data,
            heads=self.heads.ctypes.data,
            marks=self.marks.ctypes.data,
            arena=arena,
            status=self.status.ctypes.data,
            beam_size=beam_size,
            blank=blank,
            token_min_logp=options.pop("token_min_logp", -np.inf),
            scoring=options.pop("scoring", BeamScoring(separator=-1)),
        )
        assert not options
        device.launch("mms_beam_begin", (rows,), 32, self.args)

    def step(self, data, lengths=None, *, kind="log_probs"):
        """Read frames of each stream; returns their codes."""
        rows, frames, _ = data.shape
        given = np.full(rows, frames) if lengths is None else np.asarray(lengths, np.int64)
        lengths = self.device.put(given)
        batch, infos = self.device.scores(data, lengths, kind)
        choices = self.device.zeros((rows, frames, self.choices), arguments.BEAM_CHOICE)
        self.args.scores = batch
        self.args.frames = infos.ctypes.data
        self.args.choices = choices.ctypes.data
        if frames:
            grid = (frames, rows)
            threads, size = self.device.threads, 8 * self.choices
            self.device.launch("mms_beam_tokens", grid, threads, self.args, shared_bytes=size)
        self.device.launch("mms_beam_step", (rows,), self.threads, self.args)
        return codes(self.status)

    def _output(self, nbest, capacity, finish):
        shape = (self.rows, nbest)
        tokens = self.device.zeros((*shape, capacity), np.int32)
        counts = self.device.zeros(shape, np.int64)
        floats = [self.device.zeros(shape) for _ in range(4)]
        pointers = [array.ctypes.data for array in (tokens, counts, *floats)]
        return tokens, counts, floats, BeamOutput(*pointers, capacity, nbest, finish)

    def results(self, nbest=None, *, finish=True, capacity=200):
        """Return of each row a list of (tokens, log_prob, lm_score, bonus, score)."""
        nbest = nbest or self.beam_size
        tokens, counts, floats, out = self._output(nbest, capacity, finish)
        self.device.launch("mms_beam_results", (self.rows,), self.threads, self.args, out)
        found = []
        for row in range(self.rows):
            ranks = [n for n in range(nbest) if n < self.streams["used"][row]]
            found.append(
                [
                    (tuple(tokens[row, n, : counts[row, n]].tolist()), *[f[row, n] for f in floats])
                    for n in ranks
                ]
            )
        return found

    def compact(self, capacity=200):
        """Return of each row the tokens that can no longer change."""
        tokens, counts, _, out = self._output(1, capacity, False)
        self.device.launch("mms_beam_compact", (self.rows,), self.threads, self.args, out)
        assert codes(self.status) == [Code.OK] * self.rows
        return [tuple(tokens[r, 0, : counts[r, 0]].tolist()) for r in range(self.rows)]
