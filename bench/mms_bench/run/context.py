"""Options of a run, and the measurement that suites share: first calls, checks, then a race."""

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from mms_bench.errors import NotMeasured, Skipped
from mms_bench.peers import PEERS, PeerEntry
from mms_bench.peers.base import Setup
from mms_bench.run import commands
from mms_bench.run.race import Pace, Repeat, race, repeat_call
from mms_bench.run.result import Row, summarise
from mms_bench.run.worker import Worker

_ROOM = 2.0
"""Multiple of the largest peak memory that must be free for one more model: some need twice the
size of the model while they load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusOptions:
    """Options of the suite `accuracy`."""

    data: tuple[str, ...] = ()
    """Corpora."""
    models: tuple[Path, ...] = ()
    """Bundles; empty for that of the run."""
    split: str = "test"
    limit: int | None = None
    """Most clips of a language."""
    lm: Path | None = None
    """Folder of language models, named after their languages."""
    resume: bool = False
    """Whether to keep the transcripts of an earlier run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(Setup):
    """Options of `mms-bench run`, with defaults filled in."""

    peers: tuple[str, ...]
    """Implementations, the reference first."""
    cases: tuple[str, ...] = ()
    """Names of the cases; empty for all of the suite."""
    audio: tuple[Path, ...]
    recordings: Path
    """List of recordings with reference texts, for streams."""
    identifier: Path | None = None
    """Bundle of language identification, for streams that find their language too."""
    seconds: float = 10.0
    """Length of a clip."""
    batch: int = 8
    """Rows of the batch case."""
    text: str = ""
    """Sentence to speak."""
    pace: Pace = field(default_factory=Pace)
    corpus: CorpusOptions = field(default_factory=CorpusOptions)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """Work of a peer in a case."""

    case: str
    peer: str
    work: Any
    name: str = ""
    """Name of the row, if it is not the peer's."""
    amount: float = 0.0
    """Work of one call in the case's unit."""
    setup: Setup | None = None
    """Setup of the peer, if it is not that of the run."""
    check: Callable[[Worker, Row, Any], Row] = lambda _worker, row, _result: row
    """Returns the row with the check of the first call's result."""


@dataclass(frozen=True, slots=True)
class Context:
    """Surroundings of a measurement."""

    options: RunOptions
    folder: Path
    """Scratch folder, removed after the run."""
    tell: Callable[[str], None]
    """Receives lines of progress."""
    versions: dict[str, str]
    """Collects the versions of the peers."""
    peers: Mapping[str, PeerEntry] = field(default_factory=lambda: PEERS)

    @contextlib.contextmanager
    def worker(self, peer: str, setup: Setup | None = None) -> Iterator[Worker]:
        """Yield a worker of a peer; NotMeasured if it does not start."""
        with Worker(self.peers[peer], setup or self.options) as worker:
            self.versions.update(worker.versions)
            yield worker

    @contextlib.contextmanager
    def loaded(self, peer: str, setup: Setup | None = None) -> Iterator[Worker]:
        """Yield a worker that has loaded its model; NotMeasured if it cannot."""
        self.tell(f"{peer}: building")
        with self.worker(peer, setup) as worker:
            worker.build()  # in a process of its own, whose memory does not count
        self.tell(f"{peer}: loading")
        with self.worker(peer, setup) as worker:
            worker.load()
            yield worker

    def measure(self, trials: Sequence[Trial], *, load: bool = True) -> list[Row]:
        """Call each work once, check the result, and time those that pass in one race.

        Trials of a peer with the same setup share a worker, which loads a model if `load`.
        """
        rows: list[Row] = []
        timed: list[tuple[Row, Repeat]] = []
        workers: dict[tuple[str, Setup | None], Worker] = {}
        with contextlib.ExitStack() as stack:
            for trial in trials:
                name, key = trial.name or trial.peer, (trial.peer, trial.setup)
                row = Row(case=trial.case, implementation=name, amount=trial.amount)
                try:
                    if key not in workers:
                        _check_room(workers.values())
                        start = self.loaded if load else self.worker
                        workers[key] = stack.enter_context(start(*key))
                    worker = workers[key]
                    self.tell(f"{row.key}: first call")
                    found = worker.first(trial.work)
                    row = replace(row, first_seconds=found.seconds)
                    if load:
                        memory = worker.peak_memory()
                        row = replace(row, load_seconds=worker.load_seconds, peak_memory=memory)
                    row = trial.check(worker, row, found.result)
                except NotMeasured as reason:
                    row = row.refused(reason)
                if row.status == "ok":
                    timed.append((row, functools.partial(worker.repeat, found.number)))
                else:
                    rows.append(row)
            return self.race(timed) + rows

    def race(self, timed: Sequence[tuple[Row, Repeat]]) -> list[Row]:
        """Time calls in turns; return their rows with the timings, or why there are none."""
        found = race([repeat for _, repeat in timed], self.options.pace, self.tell)
        return [
            row.refused(samples.failure)
            if samples.failure
            else replace(row, samples=tuple(samples.seconds), summary=summarise(samples.seconds))
            for (row, _), samples in zip(timed, found, strict=True)
        ]


def race_commands(
    context: Context,
    case: str,
    makers: Mapping[str, Callable[[], Sequence[str]]],
    check: Callable[[str, commands.Outcome], None],
) -> list[Row]:
    """Race whole processes.

    Args:
        context: Context of the measurement.
        case: Name of the case.
        makers: Functions that return a command, by the name of its row.
        check: Called with the name and the outcome of a first run; raises `NotMeasured` if the
            command did not do its work.
    """
    rows: list[Row] = []
    timed: list[tuple[Row, Repeat]] = []
    for name, make in makers.items():
        row = Row(case=case, implementation=name)
        try:
            run = functools.partial(commands.run, make(), threads=context.options.threads)
            first = run(watch=True)
            check(name, first)
        except NotMeasured as reason:
            rows.append(row.refused(reason))
            continue
        row = replace(row, first_seconds=first.seconds, peak_memory=first.peak_memory)
        timed.append((row, repeat_call(functools.partial(_seconds, run))))
    return context.race(timed) + rows


def _seconds(run: Callable[..., commands.Outcome]) -> float:
    return run(watch=False).seconds


def _check_room(workers: Collection[Worker]) -> None:
    """Raise `Skipped` if the free memory may be too small for one more worker."""
    largest = max((worker.peak_memory() for worker in workers), default=0)
    if psutil.virtual_memory().available < _ROOM * largest:
        raise Skipped("has no room in memory beside the others: run fewer at a time with --peers")
