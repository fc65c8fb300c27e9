"""Forced alignment: cells a second, and an hour of speech in bounded memory."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from mms_bench.ctc.scores import IntArray, path_log_prob
from mms_bench.ctc.sentences import spoken
from mms_bench.ctc.task import Task
from mms_bench.options import Context
from mms_bench.peers import OURS
from mms_bench.schema import Case, Row
from mms_bench.suites.ctc import inputs
from mms_bench.suites.ctc.contest import Contest, Crew, compete, crew

FRAMES = 20_000
HOUR = 180_000
_KERNEL_MEMORY = 160_000_000
"""What leaves room for Python, NumPy and the 23 MB of posteriors within 256 MB."""
_CELLS = "A cell is one of 2 L + 1 states in one of T frames, all of them counted."
_TIMING = (
    f"Timed: from the log-probabilities in memory to the label of each frame, on one thread. "
    f"{_CELLS} The path must read as the text, and ours may not be less likely than a peer's."
)

ALIGN = Case(
    name="align",
    title=f"Alignment of {FRAMES:,} frames with dense text",
    timing=_TIMING,
    unit="cells",
    baseline="torchaudio",
)
BOUNDED = Case(
    name="hour-bounded",
    title="Alignment of an hour, memory bounded",
    timing=(
        f"An hour of posteriors, 12.5 labels a second, aligned by a kernel that may take "
        f"{_KERNEL_MEMORY // 1_000_000} MB. Each row has a process of its own, whose peak memory "
        f"holds all: Python, the posteriors, the result. {_CELLS}"
    ),
    unit="cells",
    baseline="hour-open/",
)
OPEN = Case(
    name="hour-open",
    title="Alignment of an hour, memory not bounded",
    timing="As above.",
    unit="cells",
)
CASES = (ALIGN,)
HOUR_CASES = (BOUNDED, OPEN)


def measure(context: Context) -> list[Row]:
    """Race ours against torchaudio."""
    with crew(context) as workers:
        contest = _contest(context, ALIGN, FRAMES, workers)
        return compete(context, [replace(contest, peers=(*OURS, "torchaudio"))])


def measure_hour(context: Context) -> list[Row]:
    """Race the bounded kernel against the same without a bound, in processes of their own."""
    pace = replace(context.options.pace, min_samples=3, warmup=0.0)
    with crew(context) as small, crew(context) as large:
        unbounded = _contest(context, OPEN, HOUR, large)
        task = replace(unbounded.task, memory=_KERNEL_MEMORY)
        bounded = replace(unbounded, case=BOUNDED, task=task, crew=small)
        return compete(context, [bounded, unbounded], pace)


def _contest(context: Context, case: Case, frames: int, workers: Crew) -> Contest:
    """Return a contest of the first of ours that is asked for: others run the same loop."""
    emission = inputs.made(context, "peaky", frames)
    targets = np.array(spoken(frames, seed=0), np.int32)
    file = context.folder / f"targets-{frames}.npy"
    np.save(file, targets)
    return Contest(
        case=case,
        task=Task(kind="align", emission=str(emission), targets=str(file)),
        crew=workers,
        peers=tuple(peer for peer in context.options.peers if peer in OURS)[:1],
        amount=frames * (2 * len(targets) + 1),
        score=_path(emission, targets),
        memory=True,
    )


def _path(emission: Path, targets: IntArray) -> Callable[[list[IntArray]], float]:
    def score(labels: list[IntArray]) -> float:
        (row,) = np.load(emission, mmap_mode="r")
        return path_log_prob(row, labels[0], targets)

    return score
