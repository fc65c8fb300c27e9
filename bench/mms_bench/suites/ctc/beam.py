"""Prefix beam search without a language model: beams, token cuts, sizes of the vocabulary."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mms_bench.ctc.scores import IntArray, labelling_log_prob
from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere, Refused
from mms_bench.options import Context
from mms_bench.peers import OURS
from mms_bench.schema import Case, Row
from mms_bench.suites import entries
from mms_bench.suites.ctc import inputs
from mms_bench.suites.ctc.contest import Contest, Crew, Exam, compete, crew

BEAMS = (16, 50, 100)
CUTS: dict[str, float | None] = {"cut": -5.0, "all": None}
INPUTS = (*inputs.SHAPES, "real")
WIDE = (1000, 3000)
FRAMES = 2000
WIDE_FRAMES = 500
EXAM_FRAMES = 250
"""Frames of an utterance of the exams."""
EXAM_ROWS = 60
WIDE_EXAM_ROWS = 12

_BASELINE = "fast-ctc-decode"
_TOKENS = {"cut": "tokens above e^-5", "all": "all tokens"}
_TIMING = (
    "Timed: from the probabilities in memory, in the form each implementation wants, to its best "
    "labelling, on one thread. The log-probability of that labelling is summed over all its paths "
    "in float64, not taken from the decoder. Ours has no time where those of the utterances that "
    "decide (see above the tables), added up, are below a peer's."
)
_WIDE_BEAM = 50
_WIDE_TIMING = (
    "Timed as above. flashlight-text looks at the 102 most likely tokens of a frame: with all of "
    "them it takes seconds a second. Ours finds out for itself which of them can matter."
)


def beam_case(size: int, cut: str, source: str) -> Case:
    """Return the case of a beam on an input."""
    return Case(
        name=f"beam-{size}-{cut}-{source}",
        title=f"Beam {size}, {_TOKENS[cut]}, {source} posteriors",
        timing=_TIMING if (size, cut, source) == (BEAMS[0], "cut", INPUTS[0]) else "As above.",
        unit="frames",
        each="frame",
        baseline=_BASELINE,
    )


def wide_case(vocab: int, source: str) -> Case:
    """Return the case of a vocabulary."""
    return Case(
        name=f"wide-{vocab}-{source}",
        title=f"Beam {_WIDE_BEAM}, {vocab:,} tokens, {source} posteriors",
        timing=_WIDE_TIMING if (vocab, source) == (WIDE[0], inputs.SHAPES[0]) else "As above.",
        unit="frames",
        each="frame",
        baseline="flashlight-text",
    )


CASES = tuple(beam_case(size, cut, source) for source in INPUTS for cut in CUTS for size in BEAMS)
WIDE_CASES = tuple(wide_case(vocab, source) for vocab in WIDE for source in inputs.SHAPES)


def sum_of_log_probs(emission: Path) -> Callable[[list[IntArray]], float]:
    """Return what scores the best labellings of all rows: the log-probabilities added up."""

    def score(labels: list[IntArray]) -> float:
        rows = np.load(emission, mmap_mode="r")
        return sum(labelling_log_prob(*pair) for pair in zip(rows, labels, strict=True))

    return score


def measure(context: Context) -> list[Row]:
    """Race all decoders on each input, a race for each beam and cut."""
    rows: list[Row] = []
    with crew(context) as workers:
        for source in INPUTS:
            try:
                contests = list(_contests(context, workers, source))
            except Refused as reason:
                cases = (beam_case(*c, source) for c in itertools.product(BEAMS, CUTS))
                rows += [entries.refusal(case.name, _BASELINE, reason) for case in cases]
                continue
            for contest in contests:
                rows += compete(context, [contest])
    return rows


def _contests(context: Context, workers: Crew, source: str) -> Iterator[Contest]:
    emission = inputs.emission(context, source, FRAMES)
    for (cut, logp), size in itertools.product(CUTS.items(), BEAMS):
        task = Task(kind="beam", emission=str(emission), beam_size=size, token_min_logp=logp)
        yield Contest(
            case=beam_case(size, cut, source),
            task=task,
            crew=workers,
            # flashlight-text has no cut by probability.
            peers=(*OURS, _BASELINE, *(("flashlight-text",) if logp is None else ())),
            amount=FRAMES,
            score=sum_of_log_probs(emission),
            exams=_exams(context, task),
        )


def _exams(context: Context, task: Task) -> tuple[Exam, ...]:
    """Return the same search over the speech that decides for all sources."""
    files = _made(context, inputs.VOCAB, EXAM_ROWS)
    with contextlib.suppress(NotHere):
        files.append(inputs.real(context, FRAMES))
    return _same_search(task, files)


def _made(context: Context, vocab: int, rows: int) -> list[Path]:
    return [
        inputs.made(context, shape, EXAM_FRAMES, vocab=vocab, rows=rows) for shape in inputs.SHAPES
    ]


def _same_search(task: Task, files: list[Path]) -> tuple[Exam, ...]:
    return tuple(Exam(replace(task, emission=str(file)), sum_of_log_probs(file)) for file in files)


def measure_wide(context: Context) -> list[Row]:
    """Race those that can take thousands of tokens at all.

    fast-ctc-decode keeps a node, with room for a child of each token, for every extension it
    looks at: at 1,000 tokens that is more memory than a machine has.
    """
    rows: list[Row] = []
    with crew(context) as workers:
        for vocab, shape in itertools.product(WIDE, inputs.SHAPES):
            emission = inputs.made(context, shape, WIDE_FRAMES, vocab=vocab)
            task = Task(
                kind="beam",
                emission=str(emission),
                beam_size=_WIDE_BEAM,
                tokens=2 * _WIDE_BEAM + 2,
            )
            contest = Contest(
                case=wide_case(vocab, shape),
                task=task,
                crew=workers,
                peers=(*OURS, "flashlight-text"),
                amount=WIDE_FRAMES,
                score=sum_of_log_probs(emission),
                exams=_same_search(task, _made(context, vocab, WIDE_EXAM_ROWS)),
            )
            rows += compete(context, [contest])
    return rows
