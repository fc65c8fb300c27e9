"""Decoders beside each other: the result of a first call is scored, independently of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mms_bench.errors import Failed
from mms_bench.peers import is_ours
from mms_bench.peers.base import Labels, Task
from mms_bench.run.context import Context, Trial
from mms_bench.run.result import Case, Row
from mms_bench.run.worker import Worker

Score = Callable[[list[Labels]], float]
"""Scores the labels of all rows, larger is better; ValueError if they are wrong."""

ROUNDING = 1e-6
"""Relative difference below which scores are equal: they are sums of float32 numbers."""


def contest(
    context: Context,
    case: Case,
    task: Task,
    peers: Sequence[str],
    score: Score,
    *,
    amount: float | None = None,
) -> list[Trial]:
    """Return the trials of a case; one of ours that scores less than another project's fails.

    Args:
        context: Surroundings.
        case: Description.
        task: Work of a call.
        peers: Peers that can take part.
        score: Scores the labels.
        amount: Work of a call in the case's unit, by default the number of frames.
    """
    best: dict[str, float] = {}

    def check(_: Worker, row: Row, labels: list[Labels]) -> Row:
        try:
            own = score(labels)
        except ValueError as error:
            raise Failed(f"wrong: {error}") from error
        row = replace(row, score=own)
        if not is_ours(row.implementation):
            best[row.implementation] = own
            return row
        peer = max(best, key=best.__getitem__, default="")
        if not peer or own >= best[peer] - ROUNDING * abs(best[peer]):
            return row
        reason = f"worse: its results score {own:.6f}, {peer}'s {best[peer]:.6f}"
        return row.refused(Failed(reason))

    rows, frames, _ = task.emission.shape
    trial = Trial(
        case=case.name,
        peer="",
        work=task,
        amount=rows * frames if amount is None else amount,
        setup=replace(context.options, threads=1),
        check=check,
    )
    # Other projects' first: ours are compared with them.
    wanted = [peer for peer in sorted(context.options.peers, key=is_ours) if peer in peers]
    return [replace(trial, peer=peer) for peer in wanted]
