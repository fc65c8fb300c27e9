"""Push batcher: jobs of all requests, in common runs of one recogniser, in a thread of its own."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import InvalidStateError
from dataclasses import dataclass

import numpy as np

from mms_engine.asr.continuous import Batch, ContinuousRecognizer, RunningJob
from mms_engine.asr.jobs import Job, JobResult
from mms_engine.errors import DeviceLostError, MmsError
from mms_engine.serve.errors import ApiError, deadline_exceeded
from mms_engine.serve.queue import Clock, FairQueue, QueuedJob
from mms_engine.types import Audio

logger = logging.getLogger(__name__)

_TRIAL_SECONDS = 5.0
"""Audio of the run that measures the speed at the start."""
_GATHER_SECONDS = 0.005
"""Longest pause before a run, for jobs whose audio is just being decoded."""


@dataclass(slots=True)
class BatcherCounts:
    """Totals since the start."""

    runs: int = 0
    rows: int = 0
    """Windows of all runs."""
    audio_seconds: float = 0.0
    run_seconds: float = 0.0
    expired: int = 0
    """Jobs dropped at their deadline."""
    cancelled: int = 0
    """Jobs dropped because their client left."""


class Batcher:
    """Queue of jobs and the thread that runs them.

    Between two runs, jobs whose client left or whose deadline has passed are dropped, and the
    next batch is chosen: no job, however long, holds up another for more than one run.
    """

    def __init__(self, recognizer: ContinuousRecognizer) -> None:
        self._recognizer = recognizer
        self._queue = FairQueue()
        self._by_job: dict[int, QueuedJob] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._coming = 0
        self._thread = threading.Thread(target=self._work, name="mms-batcher", daemon=True)
        self.clock = Clock()
        self.counts = BatcherCounts()
        self.error: BaseException | None = None
        """Failure that ended the use of the device."""

    def start(self, language: str, sample_rate: int) -> None:
        """Measure the speed, which loads and warms up everything, and begin to run jobs.

        Raises:
            MmsError: the model cannot run.
        """
        noise = np.random.default_rng(0).normal(0, 0.1, round(_TRIAL_SECONDS * sample_rate))
        audio = Audio(noise.astype(np.float32), sample_rate)
        for _ in range(2):  # the first run is slower
            job = self._recognizer.prepare(Job(audio, language))
            begin = time.perf_counter()
            while job.result is None:
                self._recognizer.run(self._recognizer.plan([job]))
            seconds = time.perf_counter() - begin
            job.result.unwrap()
            if seconds > 1.0:
                break
        self.clock.count(_TRIAL_SECONDS, seconds)
        self._thread.start()

    def prepare(self, job: Job) -> RunningJob:
        """Load a job's language and begin its decoding, in the calling thread.

        Raises:
            LanguageError, BundleError, LanguageModelError: as for `Recognizer.transcribe`.
        """
        return self._recognizer.prepare(job)

    @property
    def wait_seconds(self) -> float:
        """Estimated time until all that waits is done."""
        with self._changed:
            waiting = self._queue.seconds
        return waiting / self.clock.speed if self.clock.speed else 0.0

    @property
    def waiting(self) -> int:
        """Jobs that wait or run."""
        with self._changed:
            return len(self._queue)

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Announce a job that `submit` is to add inside this context: a run may wait for it."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify()

    def submit(self, job: QueuedJob) -> None:
        """Add a job; its future has the result. Never waits.

        Raises:
            ApiError: the device has failed.
        """
        if job.job.result is not None:
            job.future.set_result(job.job.result)
            return
        with self._changed:
            if self.error is not None or self._is_closed:
                raise ApiError(503, "the device failed", code="device_error", retry_after=5)
            self._queue.add(job)
            self._by_job[id(job.job)] = job
            self._changed.notify()

    def close(self) -> None:
        """Drop all jobs and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        with self._changed:
            for job in list(self._queue):
                self._end(job, ApiError(503, "the server has ended", code="draining"))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or len(self._queue))
                self._changed.wait_for(lambda: self._is_closed or not self._coming, _GATHER_SECONDS)
                if self._is_closed:
                    return
                self._drop(time.monotonic())
                batch = self._recognizer.plan(one.job for one in self._queue)
                for job in batch.jobs:
                    self._by_job[id(job)].begin()
            if batch.jobs:
                self._run(batch)

    def _drop(self, now: float) -> None:
        """Drop jobs that nobody waits for. The lock is held."""
        for job in list(self._queue):
            if job.future.cancelled():
                self.counts.cancelled += 1
                self._end(job, None)
            elif job.deadline <= now:
                self.counts.expired += 1
                self._end(job, deadline_exceeded())

    def _run(self, batch: Batch) -> None:
        begin = time.perf_counter()
        error: Exception | None = None
        try:
            self._recognizer.run(batch)
        except Exception as raised:  # noqa: BLE001 (these jobs fail, later ones may not)
            error = raised
        with self._changed:
            self._count(batch, time.perf_counter() - begin)
            jobs = [self._by_job[id(job)] for job in batch.jobs]
            if isinstance(error, DeviceLostError):
                self.error, jobs = error, list(self._queue)
            for job in jobs:
                if error is not None or job.job.result is not None:
                    self._end(job, error or job.job.result)
        if error is None:
            _report(jobs)

    def _count(self, batch: Batch, seconds: float) -> None:
        total = 0.0
        for place, job in enumerate(batch.jobs):
            audio = batch.frames_of(place) * self._recognizer.frame_seconds
            self._queue.charge(self._by_job[id(job)], audio)
            total += audio
        self.clock.count(total, seconds)
        self.counts.runs += 1
        self.counts.rows += len(batch.rows)
        self.counts.audio_seconds += total
        self.counts.run_seconds += seconds

    def _end(self, job: QueuedJob, outcome: JobResult | Exception | None) -> None:
        """Remove a job and set its outcome. The lock is held."""
        self._queue.remove(job)
        del self._by_job[id(job.job)]
        try:
            if isinstance(outcome, Exception):
                job.future.set_exception(outcome)
            elif outcome is not None:
                job.future.set_result(outcome)
        except InvalidStateError:
            logger.debug("the client left while its job ran")


def _report(jobs: list[QueuedJob]) -> None:
    """Pass on the settled text of jobs that continue."""
    for job in jobs:
        if job.changed is not None and job.job.result is None and not job.future.cancelled():
            try:
                job.changed(job.job.settled_text())
            except MmsError:
                logger.debug("no text yet", exc_info=True)
