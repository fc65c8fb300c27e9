"""Transcription of recordings in bulk on Ray Data: one engine per actor, rows as they are ready.

The process that starts it lists the recordings and writes the transcripts, so that a run that was
killed is resumed from the same journal as without a cluster.
"""

import contextlib
import logging
import math
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import ray
import ray.data

from mms_engine.asr.jobs import Job, JobResult
from mms_engine.asr.recognizer import Recognizer
from mms_engine.audio.remote import RemoteFile, is_url
from mms_engine.cluster.config import BulkConfig, BulkPlan
from mms_engine.cluster.connection import connected
from mms_engine.encoder.offline import Progress
from mms_engine.errors import BackendError, MmsError
from mms_engine.lid.identifier import Identifier
from mms_engine.routing.router import Router

_MOST_TOGETHER = 32
"""Recordings of one call of an actor; what it finishes is written when all of them are."""
_CALLS = 4
"""Calls of each actor, at least, where there are few recordings, so that all end together."""
_AHEAD = 2
"""Calls that are assigned to an actor at a time."""


class BulkRecognizer:
    """Recogniser whose jobs run on a cluster; see `open_bulk`."""

    def __init__(self, config: BulkConfig, plan: BulkPlan) -> None:
        """Use the cluster that this process is connected to."""
        self._config = config
        self._plan = plan

    def transcribe_each(
        self, jobs: Iterable[Job], progress: Progress | None = None
    ) -> Iterator[JobResult]:
        """Transcribe jobs as `Recognizer.transcribe_each` does; their audio is a path or a URL.

        Raises:
            BackendError: the cluster failed.
        """
        given = list(jobs)
        rows = [
            {"index": index, "audio": _location(job), "language": job.language}
            for index, job in enumerate(given)
        ]
        try:
            for row in self._dataset(rows).iter_rows():
                result = _read(given[row["index"]], row["result"])
                if progress is not None and result.transcript is not None:
                    progress(result.transcript.duration)
                yield result
        except ray.exceptions.RayError as error:
            raise BackendError(f"the cluster failed: {_reason(error)}") from error

    def _dataset(self, rows: list[dict[str, Any]]) -> "ray.data.Dataset":
        config, actors = self._config, self._actors(len(rows))
        together = min(max(1, len(rows) // (_CALLS * actors)), _MOST_TOGETHER)
        items = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / together))
        return items.map_batches(
            _Engine,
            fn_constructor_args=(self._plan,),
            batch_size=together,
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=_AHEAD),
            num_cpus=config.cpus,
            num_gpus=config.gpus or None,
        )

    def _actors(self, recordings: int) -> int:
        """Return the number of actors: as given, else as many as fit the cluster."""
        config, whole = self._config, _resources()
        fitting = whole.get("CPU", 1.0) / config.cpus
        if config.gpus:
            fitting = min(fitting, whole.get("GPU", 0.0) / config.gpus)
        if fitting < max(1, config.actors):
            raise BackendError(
                f"the cluster has room for {int(fitting)} actors of {config.cpus:g} cores and "
                f"{config.gpus:g} GPUs: ask for fewer actors, or less for each"
            )
        return min(config.actors or int(fitting), recordings)


@contextlib.contextmanager
def open_bulk(config: BulkConfig, plan: BulkPlan) -> Iterator[BulkRecognizer]:
    """Connect to a cluster, or start one of this machine.

    Raises:
        MmsError: there is none at the address.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with connected(config.address, logging.ERROR):
        ray.data.DataContext.get_current().enable_progress_bars = False  # in favour of ours
        yield BulkRecognizer(config, plan)


class _Engine:
    """Engine of one actor."""

    def __init__(self, plan: BulkPlan) -> None:
        self._opened = contextlib.ExitStack()
        recognizer = self._opened.enter_context(
            Recognizer.open(plan.bundle, options=plan.options, limits=plan.limits)
        )
        self._engine: Recognizer | Router = recognizer
        if plan.identifier is not None:
            identifier = self._opened.enter_context(
                Identifier.open(plan.identifier, options=plan.identification, limits=plan.limits)
            )
            self._engine = Router(recognizer, identifier, plan.routing)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Transcribe a batch of rows."""
        numbers: dict[int, int] = {}

        def jobs() -> Iterator[Job]:
            columns = (batch["index"], batch["audio"], batch["language"])
            for index, audio, language in zip(*columns, strict=True):
                job = Job(_source(str(audio)), str(language))
                numbers[id(job)] = int(index)
                yield job

        found = {
            numbers[id(result.job)]: _written(result)
            for result in self._engine.transcribe_each(jobs())
        }
        results = np.empty(len(found), object)
        results[:] = list(found.values())
        return {"index": np.array(list(found), np.int64), "result": results}


def _resources() -> dict[str, float]:
    found: Any = ray.cluster_resources  # untyped
    return dict(found())


def _location(job: Job) -> str:
    """Return the absolute path or the URL of a job's audio."""
    if isinstance(job.audio, RemoteFile):
        return job.audio.name
    return str(Path(cast("str | Path", job.audio)).absolute())


def _source(location: str) -> Path | BinaryIO:
    return cast("BinaryIO", RemoteFile(location)) if is_url(location) else Path(location)


def _written(result: JobResult) -> bytes:
    """Return a transcript, or the message of an error, as bytes."""
    return pickle.dumps(str(result.error) if result.transcript is None else result.transcript)


def _read(job: Job, content: bytes) -> JobResult:
    found = pickle.loads(content)  # noqa: S301 (of an actor of this run)
    if isinstance(found, str):
        return JobResult(job, None, MmsError(found))
    return JobResult(job, found)


def _reason(error: Exception) -> str:
    """Return the last line of an error, which Ray wraps in tracebacks of other processes."""
    return str(error).strip().rpartition("\n")[2]
