"""Triton model of recordings: the requests of a batch, in any languages, in common runs.

Inputs `audio` (BYTES, an audio file of any format) and `language` (BYTES, a code); outputs `text`,
`words` (JSON) and `language` (BYTES). The tensors are those of the engine's own KServe v2 route.
"""

import io
from collections.abc import Mapping, Sequence

import msgspec
import triton_python_backend_utils as pb_utils

from mms_engine.asr.jobs import Job
from mms_engine.errors import MmsError
from mms_engine.triton.backend import (
    Request,
    Response,
    as_text,
    cancelled,
    failure,
    open_recognizer,
    strings,
    values,
)
from mms_engine.types import Transcript


class TritonPythonModel:
    """Recogniser of recordings."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the bundle.

        Raises:
            TritonModelException: it cannot be opened.
        """
        self._recognizer = open_recognizer(args)

    def execute(self, requests: Sequence[Request]) -> list[Response]:
        """Return one response for each request; one that fails does not disturb the others."""
        jobs: dict[int, list[Job]] = {}
        failed: dict[int, Response] = {}
        for index, request in enumerate(requests):
            if request.is_cancelled():
                failed[index] = cancelled()
                continue
            try:
                jobs[index] = _jobs(request)
            except ValueError as error:
                failed[index] = failure(error)
        found = self._transcribe([job for own in jobs.values() for job in own])
        return [
            failed[index] if index in failed else _response([found[id(job)] for job in jobs[index]])
            for index in range(len(requests))
        ]

    def _transcribe(self, jobs: Sequence[Job]) -> dict[int, Transcript | MmsError]:
        """Return the transcript or the error of each job, by its identity."""
        outcomes: dict[int, Transcript | MmsError] = {}
        try:
            for result in self._recognizer.transcribe_each(jobs):
                error = result.error or MmsError("the job has no result")
                outcomes[id(result.job)] = result.transcript or error
        except MmsError as error:  # the device failed
            for job in jobs:
                outcomes.setdefault(id(job), error)
        return outcomes

    def finalize(self) -> None:
        """Free the graphs."""
        self._recognizer.close()


def _jobs(request: Request) -> list[Job]:
    """Return the jobs of a request, one for each row.

    Raises:
        ValueError: an input is missing, or of another shape.
    """
    audio, language = values(request, "audio"), values(request, "language")
    if audio is None or language is None or len(audio) != len(language):
        raise ValueError("a request has inputs audio and language, BYTES of one shape [rows, 1]")
    pairs = zip(audio, language, strict=True)
    return [Job(io.BytesIO(content), as_text(code)) for content, code in pairs]


def _response(outcomes: Sequence[Transcript | MmsError]) -> Response:
    transcripts = []
    for outcome in outcomes:
        if isinstance(outcome, MmsError):
            return failure(outcome)
        transcripts.append(outcome)
    return pb_utils.InferenceResponse(
        output_tensors=[
            strings("text", [one.text.encode() for one in transcripts]),
            strings("words", [msgspec.json.encode(one.words) for one in transcripts]),
            strings("language", [one.language.encode() for one in transcripts]),
        ]
    )
