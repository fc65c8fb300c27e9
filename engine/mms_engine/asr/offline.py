"""Offline recognition: jobs are read ahead, encoded in common batches, and decoded."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mms_engine.asr.jobs import Job, JobResult
from mms_engine.asr.options import RecognizerOptions
from mms_engine.audio import AudioLimits
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.sources import AudioSource, load
from mms_engine.bundle.manifest import UROMAN_LANGUAGE, Wav2Vec2Ctc
from mms_engine.decoding.interface import Decoded, DecoderBackend, DecodeRow, Decoding
from mms_engine.decoding.options import LexiconSearch
from mms_engine.decoding.transcript import UtteranceInfo, transcript
from mms_engine.encoder.batches import BatchLimits, WindowRow
from mms_engine.encoder.emission import Emission
from mms_engine.encoder.model import AcousticModel
from mms_engine.encoder.offline import OfflineEncoder, OfflineUtterance, Progress
from mms_engine.errors import BackendError, MmsError
from mms_engine.types import Audio, Float32Array

_READ_AHEAD_JOBS = 1000


class OfflineRecognizer:
    """Transcription of whole recordings, many at a time."""

    def __init__(
        self,
        model: AcousticModel,
        decoders: DecoderBackend,
        options: RecognizerOptions,
        limits: AudioLimits,
    ) -> None:
        """Use a model and decoders that read its emissions."""
        self._model = model
        self._decoders = decoders
        self._options = options
        self._reading = ReadOptions(
            limits=limits,
            allow_truncated=options.allow_truncated,
            track=options.track,
            channel=options.channel,
        )
        self._encoder = OfflineEncoder(
            model,
            options.windows,
            options.batch_frames,
            options.normalization,
            options.concurrent_runs,
        )

    def run(self, jobs: Iterable[Job], progress: Progress | None = None) -> Iterator[JobResult]:
        """Transcribe jobs; results come as they are ready, in any order.

        Raises:
            BackendError: the device failed.
        """
        group: list[PreparedJob] = []
        seconds = 0.0
        for job in jobs:
            try:
                prepared = self.prepare(job)
            except MmsError as error:
                yield JobResult(job, None, error)
                continue
            group.append(prepared)
            seconds += prepared.utterance.audio.seconds
            if seconds >= self._options.read_ahead_seconds or len(group) >= _READ_AHEAD_JOBS:
                yield from self._transcribe(group, progress)
                group, seconds = [], 0.0
        yield from self._transcribe(group, progress)

    def read(self, audio: AudioSource, sample_rate: int | None) -> Audio:
        """Return an audio; `sample_rate` is that of an array in Hz, `None` for the bundle's.

        Raises:
            AudioError: it cannot be read or is outside the limits.
        """
        rate = self._model.bundle.manifest.sample_rate
        return load(audio, rate, array_rate=sample_rate, options=self._reading)

    def prepare(self, job: Job) -> "PreparedJob":
        """Read a job's audio and begin its decoding.

        Raises:
            AudioError, LanguageError, BundleError, LanguageModelError: as for
                `Recognizer.transcribe`.
        """
        code = self.data_language(job.language)
        vocabulary = self._model.vocabulary(code)
        decoding = self._decoders.start(job.language, vocabulary, job.hotwords)
        audio = self.read(job.audio, job.sample_rate)
        info = UtteranceInfo(job.language, vocabulary, audio.seconds, self._model.frame_seconds)
        return PreparedJob(job, self._encoder.utterance(audio, code), info, decoding)

    def data_language(self, language: str) -> str:
        """Return the code of the data file that transcribes a language.

        A list of words in any language is spelled in the letters of a romanised model.
        """
        is_romanized = self._model.bundle.model(Wav2Vec2Ctc).text == "uroman"
        has_words = isinstance(self._options.beam, LexiconSearch)
        return UROMAN_LANGUAGE if is_romanized and has_words else language

    def _transcribe(
        self, group: Sequence["PreparedJob"], progress: Progress | None
    ) -> Iterator[JobResult]:
        sink = _DecodeSink(self._decoders, group)
        ready: list[PreparedJob] = []
        for complete in self._encoder.run([one.utterance for one in group], sink, progress):
            for index, error in complete:
                if error is None:
                    ready.append(group[index])
                else:
                    yield JobResult(group[index].job, None, error)
            # On a GPU this would wait for the batch: there, results follow at the end.
            if self._model.encoder.gpu is None:
                yield from self.finish(ready)
                ready = []
        yield from self.finish(ready)

    def rows(self, index: int, one: "PreparedJob") -> list[WindowRow]:
        """Return the windows of a job, in order of time."""
        return self._encoder.rows(index, one.utterance)

    @property
    def limits(self) -> BatchLimits:
        """Bounds of one batch."""
        return self._encoder.limits

    def run_batch(
        self, group: Sequence["PreparedJob"], batch: Sequence[WindowRow]
    ) -> dict[int, MmsError]:
        """Encode and decode one batch of the windows of a group.

        Returns:
            The error of each job, by index, whose adapter cannot be loaded.

        Raises:
            BackendError: the device failed.
        """
        sink = _DecodeSink(self._decoders, group)
        return self._encoder.run_batch([one.utterance for one in group], batch, sink)

    def finish(self, ready: Sequence["PreparedJob"]) -> Iterator[JobResult]:
        """Yield the results of jobs whose windows have all run."""
        decoded = self._decoders.finish([one.decoding for one in ready])
        for one, found in zip(ready, decoded, strict=True):
            yield self._result(one, found)

    def _result(self, one: "PreparedJob", decoded: Decoded) -> JobResult:
        if isinstance(decoded, ValueError):
            error = BackendError(
                f"{self._model.bundle.path}: the encoder's logits cannot be decoded: {decoded}"
            )
            error.__cause__ = decoded
            return JobResult(one.job, None, error)
        found = transcript(decoded, one.info, self._decoders.nbest)
        audio = one.utterance.audio
        warnings = audio.warnings + one.decoding.warnings
        complete = replace(found, missing=audio.missing, warnings=warnings)
        return JobResult(one.job, complete, path_log_prob=one.path_log_prob)


@dataclass(slots=True, eq=False)
class PreparedJob:
    """A job whose audio is read."""

    job: Job
    utterance: OfflineUtterance
    info: UtteranceInfo
    decoding: Decoding
    path_log_prob: float | None = None
    """See `JobResult.path_log_prob`; grows with the windows."""


class _DecodeSink:
    """Sink that decodes the logits of each utterance."""

    def __init__(self, decoders: DecoderBackend, group: Sequence[PreparedJob]) -> None:
        self._decoders = decoders
        self._group = group

    def take(self, rows: Sequence[WindowRow], emission: Emission) -> None:
        """Decode a batch; see `Sink.take`."""
        owners = [self._group[row.utterance] for row in rows]
        kept = [row.window.kept for row in rows]
        steps = [DecodeRow(one.decoding, own) for one, own in zip(owners, kept, strict=True)]
        self._decoders.step(steps, emission)
        if any(one.job.scored for one in owners):
            for one, own, logits in zip(owners, kept, emission.rows(), strict=True):
                if one.job.scored:
                    one.path_log_prob = (one.path_log_prob or 0.0) + _path_log_prob(logits[own])


def _path_log_prob(logits: Float32Array) -> float:
    """Return the log-probability of the most likely token of each frame of `[T, V]`, summed."""
    best = logits.max(axis=1, keepdims=True)
    shares = np.exp((logits - best).astype(np.float64))
    return -float(np.log(shares.sum(axis=1)).sum())
