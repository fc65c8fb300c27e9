"""Queue of jobs: clients take turns by audio served, each with its earliest deadline first."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from mms_engine.asr.continuous import RunningJob
from mms_engine.asr.jobs import JobResult

_order = itertools.count()


@dataclass(slots=True, eq=False)
class QueuedJob:
    """A job in the queue."""

    job: RunningJob
    client: str
    due: float
    """Time by which it ought to be done, in seconds of the monotonic clock."""
    deadline: float
    """Time after which nobody waits for it any more."""
    changed: Callable[[str], None] | None = None
    """Called with the settled text after each run, in the thread of the runs."""
    future: "Future[JobResult]" = field(default_factory=Future)
    remaining: float = field(init=False)
    """Seconds of audio that have not run."""
    begun: int = field(init=False, default=0)
    """Time of its first run, in nanoseconds of Unix time; 0 before."""
    number: int = field(init=False, default_factory=lambda: next(_order))

    def __post_init__(self) -> None:
        self.remaining = self.job.seconds

    def begin(self) -> None:
        """Note the time of the first run."""
        self.begun = self.begun or time.time_ns()


class FairQueue:
    """Jobs of many clients, in the order in which they are to run.

    The client to which least audio was served goes first; one that returns after a pause starts
    level with the others. A client's jobs are in the order in which they are due. Not thread-safe.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, list[QueuedJob]] = {}
        self._served: dict[str, float] = {}
        """Seconds of audio by client that waits."""
        self._level = 0.0
        """Audio served to the client that was last least served."""

    def __len__(self) -> int:
        return sum(map(len, self._jobs.values()))

    @property
    def seconds(self) -> float:
        """Audio that waits."""
        return sum(one.remaining for jobs in self._jobs.values() for one in jobs)

    def add(self, job: QueuedJob) -> None:
        """Add a job."""
        if job.client not in self._jobs:
            self._jobs[job.client] = []
            self._served[job.client] = self._level
        self._jobs[job.client].append(job)
        self._jobs[job.client].sort(key=lambda one: (one.due, one.number))

    def remove(self, job: QueuedJob) -> None:
        """Remove a job."""
        jobs = self._jobs[job.client]
        jobs.remove(job)
        if not jobs:
            del self._jobs[job.client]
            self._level = max(self._level, self._served.pop(job.client))

    def charge(self, job: QueuedJob, seconds: float) -> None:
        """Count audio as served to the client of a job in the queue."""
        job.remaining = max(0.0, job.remaining - seconds)
        self._served[job.client] += seconds
        self._level = max(self._level, min(self._served.values()))

    def __iter__(self) -> Iterator[QueuedJob]:
        """Yield all jobs in order, as if each were served whole before the next."""
        heap = [
            (self._served[client], jobs[0].due, jobs[0].number, client, 0)
            for client, jobs in self._jobs.items()
        ]
        heapq.heapify(heap)
        while heap:
            served, _, _, client, place = heapq.heappop(heap)
            jobs = self._jobs[client]
            yield jobs[place]
            if place + 1 < len(jobs):
                then = jobs[place + 1]
                entry = (served + jobs[place].remaining, then.due, then.number, client, place + 1)
                heapq.heappush(heap, entry)


class Clock:
    """Speed of a device: audio per second, measured at the start and after each run."""

    _WEIGHT = 0.1
    """Weight of a run in the mean."""

    def __init__(self) -> None:
        self._speed = 0.0
        self._lock = threading.Lock()

    @property
    def speed(self) -> float:
        """Seconds of audio per second; 0 while unknown."""
        return self._speed

    def count(self, audio: float, seconds: float) -> None:
        """Count a run of `audio` seconds that took `seconds`."""
        if audio <= 0 or seconds <= 0:
            return
        with self._lock:
            run = audio / seconds
            # The harmonic mean: times add up, speeds do not.
            share = self._WEIGHT if self._speed else 1.0
            inverse = (1 - share) / self._speed if self._speed else 0.0
            self._speed = 1.0 / (inverse + share / run)
