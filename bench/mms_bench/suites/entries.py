"""Brings implementations to the start: built, loaded, called once and checked."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mms_bench.check import TOLERANCES, compare
from mms_bench.ctc.task import Task
from mms_bench.errors import Refused, WorkerFailed
from mms_bench.messages import Workload
from mms_bench.options import Context
from mms_bench.race import Lap
from mms_bench.remote import Worker
from mms_bench.schema import Row
from mms_bench.statistics import summarise
from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True)
class Entry:
    """A worker with one piece of work, as a runner of the race."""

    worker: Worker
    workload: Workload | Task
    row: Row
    """What is known of it so far."""

    @property
    def name(self) -> str:
        """Case and implementation: unique in a race."""
        return f"{self.row.case}/{self.row.implementation}"

    @property
    def ran(self) -> float:
        """Seconds of the first call."""
        return self.row.first_seconds or 0.0

    def repeat(self, seconds: float, most: int) -> tuple[float, ...]:
        """Call for about `seconds`, at least once; return the seconds of each call."""
        return self.worker.repeat(self.workload, seconds, most)


def refusal(case: str, implementation: str, reason: Refused) -> Row:
    """Return the row of an implementation that cannot be measured."""
    return Row(case=case, implementation=implementation, status=reason.status, reason=str(reason))


def build(context: Context, peer: str) -> None:
    """Let a peer make its files, in a process of its own.

    Raises:
        Refused: it cannot.
    """
    context.tell(f"{peer}: building")
    with context.worker(peer, context.setup) as worker:
        worker.build()


@contextlib.contextmanager
def loaded(context: Context, peer: str) -> Iterator[tuple[Worker, float]]:
    """Yield a worker that has loaded its model, and the seconds that took.

    Raises:
        Refused: it cannot.
    """
    context.tell(f"{peer}: loading")
    with context.worker(peer, context.setup) as worker:
        context.versions.update(worker.versions)
        yield worker, worker.prepare()


def first_call(context: Context, entry: Entry) -> tuple[Entry, list[Float32Array]]:
    """Make the first call and return the entry with its seconds, and the logits.

    Raises:
        Refused: it failed.
    """
    folder = Path(tempfile.mkdtemp(dir=context.folder))
    context.tell(f"{entry.name}: first call")
    seconds = entry.worker.first(entry.workload, keep=str(folder))
    return replace(entry, row=replace(entry.row, first_seconds=seconds)), _read(folder)


def _read(folder: Path) -> list[Float32Array]:
    files = sorted(folder.glob("*.npy"), key=lambda file: int(file.stem))
    return [np.load(file) for file in files]


def check(entry: Entry, logits: list[Float32Array], reference: list[Float32Array]) -> Entry:
    """Return the entry with its logits compared with the reference's.

    Raises:
        Refused: the shapes differ.
    """
    tolerance = TOLERANCES[entry.worker.precision]
    try:
        found = compare(logits, reference, tolerance)
    except ValueError as error:
        raise WorkerFailed(str(error)) from error
    row = replace(entry.row, check=found)
    if not found.passed:
        reason = (
            f"wrong: {found.argmax_agreement:.2%} of {found.frames} frames agree with the "
            f"reference, the largest difference is {found.max_abs_error:.2g}"
        )
        row = replace(row, status="failed", reason=reason)
    return replace(entry, row=row)


def finish(entry: Entry, lap: Lap) -> Row:
    """Return the row of an entry after the race."""
    try:
        if lap.failure is not None:
            raise lap.failure
        peak = entry.worker.peak_memory()
    except Refused as reason:
        return replace(entry.row, status=reason.status, reason=str(reason))
    return replace(
        entry.row, samples=tuple(lap.samples), summary=summarise(lap.samples), peak_memory=peak
    )
