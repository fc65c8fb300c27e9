"""Transcription jobs and their results."""

from dataclasses import dataclass, field

from mms_engine.audio.sources import AudioSource
from mms_engine.decoding.options import HotwordPhrases
from mms_engine.errors import MmsError
from mms_engine.types import Transcript


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Audio to transcribe, and its language."""

    audio: AudioSource
    language: str
    """Code as MMS writes it."""
    sample_rate: int | None = field(default=None, kw_only=True)
    """Sample rate of an array, in Hz; `None` for the bundle's."""
    hotwords: HotwordPhrases | None = field(default=None, kw_only=True)
    """Phrases of this audio alone, in place of those of `BeamSearch`; `None` keeps these."""
    scored: bool = field(default=False, kw_only=True)
    """Whether the result has `path_log_prob`, for which logits are read on the host."""


@dataclass(frozen=True, slots=True, eq=False)
class JobResult:
    """Result of a job: a transcript or an error."""

    job: Job
    transcript: Transcript | None
    error: MmsError | None = None
    """Why there is no transcript."""
    path_log_prob: float | None = None
    """Sum over the frames of the natural log of the most likely token's probability, if `scored`:
    how well the audio fits the language's model."""

    def unwrap(self) -> Transcript:
        """Return the transcript.

        Raises:
            MmsError: the job failed.
        """
        if self.transcript is None:
            raise self.error or MmsError("the job has no result")
        return self.transcript
