"""Who does what in a case: first one call of everybody, its result scored, then the race."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mms_bench.ctc.scores import IntArray
from mms_bench.ctc.task import Task
from mms_bench.errors import Refused, WorkerFailed
from mms_bench.options import Context
from mms_bench.peers import OURS
from mms_bench.race import Pace, race
from mms_bench.remote import Worker
from mms_bench.schema import Case, Row
from mms_bench.suites import entries
from mms_bench.suites.entries import Entry

Score = Callable[[list[IntArray]], float | None]

ROUNDING = 1e-6
"""Scores that differ by no more than this share are equal: they are sums of float32 numbers."""


@dataclass(slots=True)
class Crew:
    """Workers by peer, each started when it is first needed."""

    context: Context
    stack: contextlib.ExitStack
    found: dict[str, Worker | Refused] = field(default_factory=dict)
    marks: dict[tuple[str, Task], float] = field(default_factory=dict)
    """What a peer has scored in an exam."""

    def worker(self, peer: str) -> Worker:
        """Return the worker of a peer.

        Raises:
            Refused: it cannot run here.
        """
        if peer not in self.found:
            self.found[peer] = self._start(peer)
        worker = self.found[peer]
        if isinstance(worker, Refused):
            raise worker
        return worker

    def _start(self, peer: str) -> Worker | Refused:
        setup = replace(self.context.setup, threads=1)
        try:
            worker = self.stack.enter_context(self.context.worker(peer, setup))
        except Refused as reason:
            return reason
        self.context.versions.update(worker.versions)
        return worker


@dataclass(frozen=True, slots=True)
class Exam:
    """Speech that is decoded once, to be scored and not timed."""

    task: Task
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One case."""

    case: Case
    task: Task
    crew: Crew
    peers: tuple[str, ...]
    """Those that take part if they are asked for."""
    amount: float
    """What one call gets through, in the case's unit."""
    score: Score
    """Of the labels of each row, larger is better; ValueError where they are wrong."""
    exams: tuple[Exam, ...] = ()
    """Whose scores, added up, tell whose results are better; of none, `score` does. A search with a
    beam misses now and then what another meets: that takes more utterances than can be timed."""
    memory: bool = False
    """Whether the peak memory of the workers is that of this case."""


@contextlib.contextmanager
def crew(context: Context) -> Iterator[Crew]:
    """Yield a crew whose workers end with the block."""
    with contextlib.ExitStack() as stack:
        yield Crew(context, stack)


def compete(context: Context, contests: Sequence[Contest], pace: Pace | None = None) -> list[Row]:
    """Run contests as one race: ratios may be taken between all of their rows."""
    rows: list[Row] = []
    racing: list[tuple[Entry, Contest]] = []
    for contest in contests:
        context.tell(f"{contest.case.name}: first calls")
        asked = [peer for peer in context.options.peers if peer in contest.peers]
        for found in _checked(contest, [_first(context, contest, peer) for peer in asked]):
            if isinstance(found, Row):
                rows.append(found)
            else:
                racing.append((found, contest))
    laps = race([entry for entry, _ in racing], pace or context.options.pace, context.tell)
    for entry, contest in racing:
        row = entries.finish(entry, laps[entry.name])
        rows.append(row if contest.memory else replace(row, peak_memory=None))
    return rows


def _first(context: Context, contest: Contest, peer: str) -> Entry | Row:
    """Make the first call and score what it gave."""
    name = contest.case.name
    try:
        worker = contest.crew.worker(peer)
        seconds, labels = _call(context, worker, contest.task)
        score = contest.score(labels)
        for exam in contest.exams:
            _sit(context, contest.crew, peer, exam)
    except Refused as reason:
        return entries.refusal(name, peer, reason)
    except ValueError as error:
        return entries.refusal(name, peer, WorkerFailed(f"wrong: {error}"))
    row = Row(
        case=name,
        implementation=peer,
        status="ok",
        first_seconds=seconds,
        amount=contest.amount,
        score=score,
    )
    return Entry(worker, contest.task, row)


def _sit(context: Context, crew: Crew, peer: str, exam: Exam) -> None:
    """Put a peer's mark down, unless it has sat this exam before another case."""
    if (peer, exam.task) in crew.marks:
        return
    _, labels = _call(context, crew.worker(peer), exam.task)
    mark = exam.score(labels)
    crew.marks[peer, exam.task] = -np.inf if mark is None else mark


def _call(context: Context, worker: Worker, task: Task) -> tuple[float, list[IntArray]]:
    """Return the seconds of a first call and what it found."""
    folder = Path(tempfile.mkdtemp(dir=context.folder))
    return worker.first(task, keep=str(folder)), _labels(folder)


def _labels(folder: Path) -> list[IntArray]:
    files = sorted(folder.glob("*.npy"), key=lambda file: int(file.stem))
    return [np.load(file) for file in files]


def _checked(contest: Contest, found: list[Entry | Row]) -> list[Entry | Row]:
    """Fail those of ours whose result is worse than a peer's: they get no time."""
    marks = {
        entry.row.implementation: _mark(contest, entry.row)
        for entry in found
        if isinstance(entry, Entry)
    }
    peers = [peer for peer in marks if peer not in OURS]
    if not peers:
        return found
    best = max(peers, key=marks.__getitem__)
    limit = marks[best] - ROUNDING * abs(marks[best])
    worse = {name for name in marks if name in OURS and marks[name] < limit}
    return [
        _worse(entry, marks, best)
        if isinstance(entry, Entry) and entry.row.implementation in worse
        else entry
        for entry in found
    ]


def _mark(contest: Contest, row: Row) -> float:
    if contest.exams:
        return sum(contest.crew.marks[row.implementation, exam.task] for exam in contest.exams)
    return -np.inf if row.score is None else row.score


def _worse(entry: Entry, marks: dict[str, float], best: str) -> Row:
    reason = f"worse: what it finds scores {marks[entry.row.implementation]:.6f}, {best}'s "
    return replace(entry.row, status="failed", reason=f"{reason}{marks[best]:.6f}")
