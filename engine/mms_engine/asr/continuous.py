"""Continuous batching: jobs of many callers, encoded window by window in common runs."""

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mms_engine.asr.jobs import Job, JobResult
from mms_engine.asr.offline import OfflineRecognizer, PreparedJob
from mms_engine.encoder.batches import WindowRow, fits
from mms_engine.encoder.model import AcousticModel
from mms_engine.errors import MmsError

_NO_LOGITS = np.zeros((0, 0), np.float32)


class RunningJob:
    """A job from the reading of its audio to its result."""

    def __init__(self, lane: OfflineRecognizer, prepared: PreparedJob) -> None:
        """Take over a job that `lane` prepared."""
        self.lane = lane
        self.prepared = prepared
        self.windows = deque(lane.rows(0, prepared))
        self.result: JobResult | None = None
        """Known after the last window."""

    @property
    def seconds(self) -> float:
        """Duration of the audio."""
        return self.prepared.utterance.audio.seconds

    def settled_text(self) -> str:
        """Return the start of the text that can no longer change; empty where unknown."""
        partial = getattr(self.prepared.decoding, "partial", None)
        if partial is None:  # decoding on a GPU
            return ""
        hypothesis, stable = partial(_NO_LOGITS)
        return self.prepared.info.vocabulary.text(hypothesis.tokens[:stable].tolist())


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Windows for one run of the encoder."""

    jobs: tuple[RunningJob, ...]
    rows: tuple[WindowRow, ...]
    """Windows; `WindowRow.utterance` is an index in `jobs`."""

    def frames_of(self, job: int) -> int:
        """Return the frames of a job that are transcribed."""
        windows = (row.window for row in self.rows if row.utterance == job)
        return sum(window.keep_end - window.keep_start for window in windows)


class ContinuousRecognizer:
    """Speech recogniser whose caller chooses, before each run, the jobs that go first.

    `prepare` may be called from several threads; `plan` and `run` from one. The text does not
    depend on the batches.
    """

    def __init__(
        self,
        model: AcousticModel,
        plain: OfflineRecognizer,
        searching: Callable[[], OfflineRecognizer],
    ) -> None:
        """Use a model.

        Args:
            model: Model of both recognisers.
            plain: Recogniser of jobs without hotwords.
            searching: Returns the recogniser of jobs with hotwords; called once, on first use.
        """
        self._model = model
        self._plain = plain
        self._open_searching = searching
        self._searching: OfflineRecognizer | None = None
        self._lock = threading.Lock()

    @property
    def frame_seconds(self) -> float:
        """Seconds from the start of a frame to the start of the next."""
        return self._model.frame_seconds

    def prepare(self, job: Job) -> RunningJob:
        """Read a job's audio and load its language; the job waits for `run`.

        Raises:
            AudioError, LanguageError, BundleError, LanguageModelError: as for
                `Recognizer.transcribe`.
        """
        lane = self._lane(job)
        running = RunningJob(lane, lane.prepare(job))
        if self._model.bank is not None:
            self._model.bank.prefetch([lane.data_language(job.language)])
        if not running.windows:  # shorter than a frame
            running.result = next(lane.finish([running.prepared]))
        return running

    def _lane(self, job: Job) -> OfflineRecognizer:
        if not job.hotwords:
            return self._plain
        with self._lock:
            if self._searching is None:
                self._searching = self._open_searching()
            return self._searching

    def plan(self, jobs: Iterable[RunningJob]) -> Batch:
        """Return the next batch: windows of the first job, and those of others that fit.

        Args:
            jobs: Jobs without a result, first the most urgent.
        """
        chosen: list[RunningJob] = []
        rows: list[WindowRow] = []
        for job in jobs:
            if chosen and job.lane is not chosen[0].lane:
                continue
            taken = len(rows)
            for window in job.windows:
                row = dataclasses.replace(window, utterance=len(chosen))
                if rows and not fits(rows, row, job.lane.limits):
                    break
                rows.append(row)
            if len(rows) > taken:
                chosen.append(job)
        return Batch(tuple(chosen), tuple(rows))

    def run(self, batch: Batch) -> None:
        """Run a batch; jobs whose last window was in it have a result afterwards.

        Raises:
            BackendError: the device failed; the jobs of the batch cannot continue.
        """
        if not batch.jobs:
            return
        lane = batch.jobs[0].lane
        errors = lane.run_batch([job.prepared for job in batch.jobs], batch.rows)
        for row in batch.rows:
            batch.jobs[row.utterance].windows.popleft()
        _fail(batch.jobs, errors)
        ready = [job for job in batch.jobs if not job.windows and job.result is None]
        for job, result in zip(ready, lane.finish([one.prepared for one in ready]), strict=True):
            job.result = result


def _fail(jobs: Sequence[RunningJob], errors: dict[int, MmsError]) -> None:
    for index, error in errors.items():
        jobs[index].result = JobResult(jobs[index].prepared.job, None, error)
