"""Options of a run, and what the measuring functions of a suite share."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mms_bench.errors import NotMeasured
from mms_bench.peers import PEERS, PeerEntry
from mms_bench.peers.base import Setup
from mms_bench.run.race import Pace, Runner, Samples, race
from mms_bench.run.result import Row, summarise
from mms_bench.run.worker import Worker

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of `mms-bench run`, with defaults filled in."""

    peers: tuple[str, ...]
    """Implementations, the reference first."""
    model: str
    """Name of the checkpoint in reports."""
    demo_bundle: Path
    """Bundle of the cold start."""
    audio: tuple[Path, ...]
    recordings: Path
    """List of recordings with reference texts, for streams."""
    seconds: float = 10.0
    """Length of a clip."""
    batch: int = 8
    """Rows of the batch case."""
    cases: tuple[str, ...] = ()
    """Names of the cases; empty for all of the suite."""
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Entry:
    """Work that a worker has called once, and the row so far."""

    worker: Worker
    call: int
    row: Row
    result: Any
    """Logits or labels of the first call."""


@dataclass(frozen=True, slots=True)
class Context:
    """Surroundings of a measurement. Methods raise `NotMeasured` if a peer cannot run."""

    options: RunOptions
    setup: Setup
    folder: Path
    """Scratch folder, removed after the run."""
    tell: Tell
    """Receives lines of progress."""
    versions: dict[str, str]
    """Collects the versions of the peers."""
    peers: Mapping[str, PeerEntry] = field(default_factory=lambda: PEERS)

    def worker(self, peer: str, setup: Setup | None = None) -> Worker:
        """Start the worker of a peer."""
        worker = Worker(self.peers[peer], setup or self.setup)
        self.versions.update(worker.versions)
        return worker

    def build(self, peer: str) -> None:
        """Build the files of a peer, in a process of its own."""
        self.tell(f"{peer}: building")
        with self.worker(peer) as worker:
            worker.build()

    @contextlib.contextmanager
    def loaded(self, peer: str, setup: Setup | None = None) -> Iterator[tuple[Worker, float]]:
        """Yield a worker that has loaded its model, and the seconds that took."""
        self.tell(f"{peer}: loading")
        with self.worker(peer, setup) as worker:
            yield worker, worker.load()

    def first_call(self, worker: Worker, work: Any, row: Row) -> Entry:  # noqa: ANN401
        """Make the first call of a piece of work."""
        self.tell(f"{row.case}/{row.implementation}: first call")
        found = worker.first(work)
        return Entry(worker, found.number, replace(row, first_seconds=found.seconds), found.result)

    def race(self, entries: Sequence[Entry]) -> list[Row]:
        """Time entries in turns and return their rows, with peak memory."""
        named = {f"{entry.row.case}/{entry.row.implementation}": entry for entry in entries}
        runners = [
            Runner(name, functools.partial(one.worker.repeat, one.call), one.row.first_seconds or 0)
            for name, one in named.items()
        ]
        found = race(runners, self.options.pace, self.tell)
        return [_finish(entry, found[name]) for name, entry in named.items()]


def _finish(entry: Entry, samples: Samples) -> Row:
    row = timed_row(entry.row, samples)
    if row.summary is None:
        return row
    try:
        return replace(row, peak_memory=entry.worker.peak_memory())
    except NotMeasured as reason:
        return replace(entry.row, status=reason.status, reason=str(reason))


def timed_row(row: Row, samples: Samples) -> Row:
    """Return a row with its timings, or with the reason why there are none."""
    if samples.failure is not None:
        return replace(row, status=samples.failure.status, reason=str(samples.failure))
    return replace(row, samples=tuple(samples.seconds), summary=summarise(samples.seconds))
