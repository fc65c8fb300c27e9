"""Recognition of decoded audio, for every route that transcribes."""

import asyncio
import time
from collections.abc import Callable, Sequence

from mms_engine.asr.jobs import Job
from mms_engine.serve.call import Call
from mms_engine.serve.models import SpeechModel
from mms_engine.serve.queue import QueuedJob
from mms_engine.types import Audio, Transcript


async def transcribed(
    call: Call,
    model: SpeechModel,
    audio: Audio,
    language: str,
    *,
    hotwords: Sequence[str] = (),
    changed: Callable[[str], None] | None = None,
    submitted: Callable[[], None] = lambda: None,
) -> Transcript:
    """Return the transcript of an audio, run in common batches with those of others.

    Args:
        call: Request that it belongs to.
        model: Model.
        audio: Decoded.
        language: Code of the model.
        hotwords: Phrases to favour.
        changed: Called with the settled start of the text, in the thread of the runs.
        submitted: Called when the audio waits in the queue.

    Raises:
        MmsError: it cannot be transcribed.
        ApiError: the deadline has passed, or the device has failed.
    """
    call.audio_seconds = audio.seconds
    job = Job(audio, language, hotwords=tuple(hotwords) or None)
    prepared = await asyncio.to_thread(model.batcher.prepare, job)
    due = call.due(audio.seconds)
    queued = QueuedJob(prepared, call.client, due, call.deadline, changed=changed)
    arrived = time.time_ns()
    model.batcher.submit(queued)
    submitted()
    try:
        transcript = (await asyncio.wrap_future(queued.future)).unwrap()
    finally:
        _trace(call, model, queued, arrived)
    call.log_text(transcript.text)
    return transcript


def _trace(call: Call, model: SpeechModel, job: QueuedJob, arrived: int) -> None:
    """Record the stages of a job that is over: its wait, and the time from its first run on."""
    tracing, end = call.service.tracing, time.time_ns()
    tracing.past("queue", arrived, job.begun or end)
    if job.begun:
        seconds, language = job.job.seconds, job.job.prepared.job.language
        tracing.past(
            "recognize", job.begun, end, model=model.id, language=language, audio_seconds=seconds
        )
