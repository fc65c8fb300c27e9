"""Races of decoders: one call per peer, its result scored independently, then the timing."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mms_bench.errors import Failed, NotMeasured
from mms_bench.peers import is_ours
from mms_bench.peers.base import Labels, Task
from mms_bench.run.context import Context, Entry
from mms_bench.run.result import Case, Row, refusal
from mms_bench.run.worker import Worker

Score = Callable[[list[Labels]], float]
Workers = dict[str, Worker | NotMeasured]

ROUNDING = 1e-6
"""Relative difference below which scores are equal: they are sums of float32 numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One case."""

    case: Case
    task: Task
    peers: Sequence[str]
    """Peers that take part if they are asked for."""
    amount: float
    """Work of one call in the case's unit."""
    score: Score
    """Scores the labels of all rows, larger is better; ValueError if they are wrong."""
    quality: dict[str, float] = field(default_factory=dict)
    """Scores by peer that decide in place of `score`. A beam misses now and then what another one
    finds, so that a verdict takes more utterances than can be timed."""


@contextlib.contextmanager
def start_workers(context: Context, peers: Sequence[str]) -> Iterator[Workers]:
    """Yield a worker, or the reason why there is none, for each peer of the run."""
    found: Workers = {}
    with contextlib.ExitStack() as stack:
        for peer in filter(peers.__contains__, context.options.peers):
            try:
                worker = context.worker(peer, replace(context.setup, threads=1))
                found[peer] = stack.enter_context(worker)
            except NotMeasured as reason:
                found[peer] = reason
        yield found


def quality(workers: Workers, tasks: Sequence[tuple[Task, Score]]) -> dict[str, float]:
    """Return the sum of scores over tasks by peer, without peers that fail."""
    found = {}
    for peer, worker in workers.items():
        if isinstance(worker, Worker):
            with contextlib.suppress(NotMeasured):
                found[peer] = sum(score(worker.first(task).result) for task, score in tasks)
    return found


def compete(context: Context, workers: Workers, contests: Sequence[Contest]) -> list[Row]:
    """Time contests in one race, so that ratios may be taken between all of their rows."""
    rows: list[Row] = []
    racing: list[Entry] = []
    for contest in contests:
        found = [_first(context, workers, contest, p) for p in workers if p in contest.peers]
        rows += [one for one in found if isinstance(one, Row)]
        entries = [one for one in found if isinstance(one, Entry)]
        for entry in entries:
            worse = _worse(contest, entry.row, [one.row for one in entries])
            if worse is None:
                racing.append(entry)
            else:
                rows.append(worse)
    return [replace(row, peak_memory=None) for row in context.race(racing)] + rows


def _first(context: Context, workers: Workers, contest: Contest, peer: str) -> Entry | Row:
    name, worker = contest.case.name, workers[peer]
    try:
        if isinstance(worker, NotMeasured):
            raise worker
        row = Row(case=name, implementation=peer, amount=contest.amount)
        entry = context.first_call(worker, contest.task, row)
        return replace(entry, row=replace(entry.row, score=contest.score(entry.result)))
    except NotMeasured as reason:
        return refusal(name, peer, reason)
    except ValueError as error:
        return refusal(name, peer, Failed(f"wrong: {error}"))


def _worse(contest: Contest, row: Row, rows: Sequence[Row]) -> Row | None:
    """Return the row of one of ours that finds less than another project's, else `None`."""
    scores = {one.implementation: one.score or 0.0 for one in rows} | contest.quality
    others = [one.implementation for one in rows if not is_ours(one.implementation)]
    if not is_ours(row.implementation) or not others:
        return None
    own, best = scores[row.implementation], max(others, key=scores.__getitem__)
    if own >= scores[best] - ROUNDING * abs(scores[best]):
        return None
    reason = f"worse: its results score {own:.6f}, {best}'s {scores[best]:.6f}"
    return replace(row, status="failed", reason=reason)
