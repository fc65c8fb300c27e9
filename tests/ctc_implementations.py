"""The implementations of the kernels behind one interface, for tests that hold for each.

Bad input raises ValueError with the CPU's message; the CUDA kernels report a code and a frame.
"""

import itertools

import numpy as np

from cuda_beam import Beam
from cuda_emulation import Greedy, align, codes
from mms_kernels import (
    Alignment,
    BeamDecoder,
    BeamOptions,
    GreedyDecoder,
    GreedyResult,
    Partial,
    _ctc,
    forced_align,
    greedy_decode,
)
from mms_kernels.cuda.arguments import MAX_BEAM, BeamScoring, Code
from mms_kernels.cuda.models import BeamModels

FAULTS = {
    Code.NAN: "holds NaN",
    Code.INFINITE: "holds +inf",
    Code.EMPTY: "is -inf for every token",
}


class Cpu:
    """The CPU kernels with one instruction set."""

    greedy_tolerance, beam_tolerance = 2e-6, 1e-9
    is_cuda = False
    max_beam = 1100

    def __init__(self, isa):
        self.isa = isa
        self.before = _ctc.isa()
        _ctc.use_isa(isa)

    def close(self):
        _ctc.use_isa(self.before)

    def greedy(self, logits, lengths, *, blank=0, kind="logits", cuts=()):
        lengths = np.asarray(lengths)
        if not len(cuts):
            return greedy_decode(logits, lengths, blank=blank, kind=kind)
        results = []
        for row, length in zip(logits, lengths, strict=True):
            decoder = GreedyDecoder(blank, kind=kind)
            for piece in np.split(row[:length], cuts):
                decoder.step(piece)
            results.append(decoder.finish())
        return results

    def align(self, logits, targets, lengths=None, **options):
        width = max(map(len, targets), default=0)
        ids = np.zeros((len(targets), width), np.int64)
        for row, target in enumerate(targets):
            ids[row, : len(target)] = target
        sizes = np.array([len(target) for target in targets], np.int64)
        return forced_align(logits, ids, lengths, sizes, **options)

    def beam(self, scores, lengths, *, kind="log_probs", models=None, **options):
        decoder = BeamDecoder(BeamOptions(**options), **(models or {}))
        nbest = max(options["beam_size"], 1)
        return decoder.decode(scores, np.asarray(lengths), kind=kind, nbest=nbest)

    def stream(self, *, kind="log_probs", models=None, **options):
        return BeamDecoder(BeamOptions(**options), **(models or {})).stream(kind=kind)


class Cuda:
    """The CUDA kernels on a device, emulated or real."""

    greedy_tolerance, beam_tolerance = 1e-5, 1e-5
    is_cuda = True
    max_beam = MAX_BEAM

    def __init__(self, device):
        self.device = device

    def close(self):
        close = getattr(self.device, "close", None)
        if close is not None:
            close()

    def greedy(self, logits, lengths, *, blank=0, kind="logits", cuts=()):
        logits, lengths = bits(logits), np.asarray(lengths)
        streams = Greedy(self.device, len(logits), blank)
        parts = [[] for _ in logits]
        bounds = [0, *cuts, logits.shape[1]]
        for start, end in itertools.pairwise(bounds):
            chunk = np.ascontiguousarray(logits[:, start:end])
            inside = np.clip(lengths - start, 0, end - start) if len(cuts) else lengths
            last = end == bounds[-1] and len(bounds) == 2 + len(cuts)
            status, rows = streams.step(chunk, inside, kind=kind, finish=last and start != end)
            refuse(status, lengths, logits.shape[1])
            for part, row in zip(parts, rows, strict=True):
                part.append(row)
        names = ("tokens", "starts", "ends", "scores", "peaks")
        return [
            GreedyResult(*(np.concatenate([one[name] for one in part]) for name in names))
            for part in parts
        ]

    def align(
        self, logits, targets, lengths=None, *, kind="logits", star=None, star_score=0.0, blank=0
    ):
        wildcard = None if star is None else (star, star_score)
        status, totals, spans = align(
            self.device,
            bits(logits),
            targets,
            lengths=lengths,
            kind=kind,
            star=wildcard,
            blank=blank,
        )
        given = np.full(len(logits), logits.shape[1]) if lengths is None else lengths
        refuse(status, given, logits.shape[1])
        return [
            Alignment(np.asarray(target, np.int64), *span, float(total))
            for target, span, total in zip(targets, spans, totals, strict=True)
        ]

    def beam(self, scores, lengths, *, kind="log_probs", **options):
        beam, _kept = self._beam(len(scores), scores.shape[2], **options)
        beam.step(bits(scores), lengths, kind=kind)
        refuse(beam.status, lengths, scores.shape[1])
        return beam.results()

    def stream(self, *, kind="log_probs", **options):
        return CudaStream(self, kind, options)

    def _beam(self, rows, vocab, *, models=None, beam_size=50, blank=0, **options):
        models = dict(models or {})
        device_options = {
            name: options.pop(name) for name in ("lookback", "token_min_logp") if name in options
        }
        device_options.setdefault("lookback", 1000)
        options["separator"] = options.get("separator", -1)
        scoring, kept = BeamScoring(separator=-1), None
        if models or options != {"separator": -1}:
            names = models.pop("tokens", None) or [str(token) for token in range(vocab)]
            kept = BeamModels(names, **models, **options)
            scoring = kept.scoring({k: array.ctypes.data for k, array in kept.arrays.items()})
            if self.device.library is None:  # a real device reads the arrays in its own memory
                placed = {name: self.device.put(array) for name, array in kept.arrays.items()}
                scoring = kept.scoring({k: array.ctypes.data for k, array in placed.items()})
                kept = placed
            device_options["choices"] = max(vocab - 1, 1)
        beam = Beam(
            self.device,
            rows,
            vocab,
            beam_size=beam_size,
            blank=blank,
            scoring=scoring,
            **device_options,
        )
        return beam, kept


class CudaStream:
    """One stream of the CUDA beam, like `BeamStream`."""

    def __init__(self, cuda, kind, options):
        self.cuda, self.kind, self.options = cuda, kind, options
        self.beam, self.frames = None, 0

    def step(self, scores):
        if self.beam is None:
            self.beam, self.kept = self.cuda._beam(1, scores.shape[1], **self.options)
        self.beam.step(bits(scores)[None], kind=self.kind)
        refuse(self.beam.status, [len(scores)], len(scores), self.frames, row="")
        self.frames += len(scores)

    def partial(self, *, nbest=1):
        found, stable = self.beam.rest(finish=False)
        settled = int(self.beam.streams["settled"][0])
        assert len(found[0]) <= self.beam.beam_size
        return Partial(self.beam.results(finish=False)[0][:nbest], settled + int(stable[0]))

    def finish(self, *, nbest=1):
        found = self.beam.results()[0][:nbest]
        self.beam, self.frames = None, 0
        return found


def bits(scores):
    """bfloat16 as uint16, which the helpers of the device take."""
    return scores.view(np.uint16) if scores.dtype.name == "bfloat16" else scores


def refuse(status, lengths, frames, start=0, row="row {}: "):
    """Raise the error of the lowest row whose status is not OK."""
    for index, code in enumerate(codes(status)):
        if code == Code.LENGTH:
            raise ValueError(
                f"{row.format(index)}length is {lengths[index]}, the logits have {frames} frames"
            )
        if code in FAULTS:
            frame = start + status["frame"][index]
            raise ValueError(f"{row.format(index)}frame {frame} of the logits {FAULTS[code]}")
        if code != Code.OK:
            raise ValueError(f"{row.format(index)}{code.name}")
