"""Greedy decoding: nanoseconds a frame of a small vocabulary, bytes a second of a large one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mms_bench.ctc.scores import IntArray, collapse
from mms_bench.ctc.task import Task
from mms_bench.options import Context
from mms_bench.peers import OURS
from mms_bench.schema import Case, Row
from mms_bench.suites.ctc import inputs
from mms_bench.suites.ctc.contest import Contest, compete, crew

FRAMES = {32: 100_000, 1000: 20_000, 3000: 7_000}
_BASELINE = "numpy"
_TIMING = (
    "Timed: from the log-probabilities in memory to the labels; ours gives their times and scores "
    "too. The labels must be those of the argmax of each frame."
)


def greedy_case(vocab: int) -> Case:
    """Return the case of a vocabulary: the small one counts frames, the large ones bytes."""
    small = vocab == inputs.VOCAB
    return Case(
        name=f"greedy-{vocab}",
        title=f"Greedy, {vocab:,} tokens",
        timing=_TIMING if small else "As above.",
        unit="frames" if small else "bytes",
        each="frame" if small else "",
        baseline=_BASELINE,
    )


CASES = tuple(map(greedy_case, FRAMES))


def measure(context: Context) -> list[Row]:
    """Race ours against NumPy and fast-ctc-decode's Viterbi search."""
    rows: list[Row] = []
    with crew(context) as workers:
        for vocab, frames in FRAMES.items():
            emission = inputs.made(context, "peaky", frames, vocab=vocab)
            contest = Contest(
                case=greedy_case(vocab),
                task=Task(kind="greedy", emission=str(emission)),
                crew=workers,
                peers=(*OURS, _BASELINE, "fast-ctc-decode"),
                amount=frames if vocab == inputs.VOCAB else frames * vocab * 4,
                score=_best_path(emission),
            )
            rows += compete(context, [contest])
    return rows


def _best_path(emission: Path) -> Callable[[list[IntArray]], float]:
    def score(labels: list[IntArray]) -> float:
        (row,) = np.load(emission)
        if not np.array_equal(labels[0], collapse(row.argmax(axis=1))):
            raise ValueError("the labels are not those of the best path")
        return float(row.max(axis=1).sum(dtype=np.float64))

    return score
