"""Speech to text: the recogniser of a bundle."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self, overload

from mms_engine.acoustic import AcousticModel, load_acoustic_model
from mms_engine.audio import AudioLimits, Normalization, statistics
from mms_engine.audio.sources import Source, Sources, load
from mms_engine.batching import BatchLimits, Row, plan_batches
from mms_engine.bundle.reader import Bundle, open_bundle
from mms_engine.decode import Hypothesis, Utterance, transcript
from mms_engine.decoders import Decoders, Decoding, HostDecoders, Step
from mms_engine.emission import Segment
from mms_engine.errors import BackendError, MmsError, StreamError
from mms_engine.options import RecognizerOptions
from mms_engine.streaming.model import StreamingModel
from mms_engine.streaming.opening import open_core
from mms_engine.streaming.options import StreamOptions
from mms_engine.streaming.pool import PoolOptions, StreamPool
from mms_engine.streaming.state import load as load_state
from mms_engine.streaming.state import restore
from mms_engine.streaming.stream import Stream
from mms_engine.system import usable_cores
from mms_engine.types import Audio, Transcript
from mms_engine.windows import plan_windows

Progress = Callable[[float], None]
"""Called with the seconds of audio that were finished since the last call."""

_POOL_JOBS = 1000
_FULL_WINDOWS = {"cpu": 1, "cuda": 16}


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """An audio to transcribe, and its language."""

    audio: Source
    language: str
    hotwords: Mapping[str, float] | None = None
    """This audio's own phrases and what each occurrence adds, in nats, instead of those of
    `BeamSearch`; `None` keeps these."""


class Recognizer:
    """Transcribes audio in the languages of one bundle.

    May be used from several threads at once. Text does not depend on what else is transcribed
    with it, nor on the order.
    """

    def __init__(
        self,
        model: AcousticModel,
        decoders: Decoders,
        options: RecognizerOptions,
        limits: AudioLimits,
    ) -> None:
        self._model = model
        self._options = options
        self._limits = limits
        self._decoders = decoders

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        options: RecognizerOptions | None = None,
        limits: AudioLimits | None = None,
    ) -> Self:
        """Load a bundle.

        Args:
            bundle: Folder that mms-export made.
            options: How to run it.
            limits: How much audio is accepted.

        Raises:
            BundleError: it is missing, damaged, or lacks the precision asked for.
            BackendError: nothing here can run it.
            LanguageModelError: the language model cannot be read.
        """
        options = options or RecognizerOptions()
        opened = open_bundle(Path(bundle), verify=options.verify)
        host = HostDecoders(options)  # first: a language model may be wrong
        model = load_acoustic_model(opened, options)
        decoders = model.encoder.decoders(options, host)
        return cls(model, decoders, options, limits or AudioLimits())

    def __repr__(self) -> str:
        return f"Recognizer({self.bundle!r}, {self._model.device})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def bundle(self) -> Bundle:
        """The bundle that is open."""
        return self._model.bundle

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it can transcribe, sorted."""
        return self.bundle.languages

    def stream(self, language: str, options: StreamOptions | None = None) -> Stream:
        """Begin a stream of audio in a language.

        Raises:
            LanguageError: the bundle does not have it.
            BundleError: an adapter is damaged, or the bundle has no graph for streams.
            BackendError: the bundle has no plan for streams that runs here.
            DeviceMemoryError: the device has no room for its keys and values.
            LanguageModelError: hotwords or the language model do not fit the language.
        """
        model, decoders = self._for_streams()
        return Stream(open_core(model, decoders, language, options or StreamOptions()), model)

    def restore_stream(self, state: bytes) -> Stream:
        """Go on with a stream that `Stream.save` wrote, in this process or another.

        Raises:
            StreamError: it is damaged, or of another model or release.
            LanguageError, BundleError, LanguageModelError: as for `stream`.
        """
        manifest = self.bundle.manifest
        saved = load_state(state, manifest.source.fingerprint)
        model, decoders = self._for_streams()
        core = open_core(model, decoders, saved.language, saved.options)
        try:
            restore(core, saved, manifest.sample_rate)
        except StreamError:
            core.release()
            raise
        return Stream(core, model)

    def pool(self, options: PoolOptions | None = None) -> StreamPool:
        """Return a pool in which many streams share this recogniser. Close it before this."""
        model, decoders = self._for_streams()
        cores = self._options.threads or usable_cores()
        return StreamPool(
            model,
            cores,
            lambda language, chosen: open_core(model, decoders, language, chosen),
            options or PoolOptions(),
        )

    def _for_streams(self) -> tuple[StreamingModel, HostDecoders]:
        return StreamingModel(self._model), self._host_decoders

    @cached_property
    def _host_decoders(self) -> HostDecoders:
        """What decodes streams: on the host, a few frames at a time."""
        own = self._decoders
        return own if isinstance(own, HostDecoders) else HostDecoders(self._options)

    def close(self) -> None:
        """Free the graphs, and what is on a device."""
        self._decoders.close()
        self._model.close()

    @overload
    def transcribe(self, audio: Source, language: str) -> Transcript: ...

    @overload
    def transcribe(self, audio: Sources, language: str | Sequence[str]) -> list[Transcript]: ...

    def transcribe(
        self, audio: Source | Sources, language: str | Sequence[str]
    ) -> Transcript | list[Transcript]:
        """Transcribe one audio, or a list in one language or one language each.

        Audio shorter than one frame (400 samples) has an empty transcript.

        Raises:
            AudioError: an audio cannot be read or is outside the limits.
            LanguageError: the bundle does not have a language.
            BundleError: an adapter is damaged.
            LanguageModelError: hotwords or the language model do not fit a language.
            BackendError: the device failed.
        """
        if not isinstance(audio, list | tuple):
            if not isinstance(language, str):
                raise TypeError("one audio takes one language, not a list of them")
            return self._all([Job(audio, language)])[0]
        languages = [language] * len(audio) if isinstance(language, str) else language
        if len(languages) != len(audio):
            raise ValueError(f"{len(audio)} audios need as many languages, got {len(languages)}")
        return self._all([Job(*pair) for pair in zip(audio, languages, strict=True)])

    def _all(self, jobs: list[Job]) -> list[Transcript]:
        transcripts = []
        for outcome in self.transcribe_each(jobs):
            if isinstance(outcome, MmsError):
                raise outcome
            transcripts.append(outcome)
        return transcripts

    def transcribe_each(
        self, jobs: Iterable[Job], progress: Progress | None = None
    ) -> Iterator[Transcript | MmsError]:
        """Transcribe any number of jobs; one that fails yields its error and the others go on.

        Jobs are read as they are needed, `pool_seconds` of audio at a time.

        Raises:
            BackendError: the device failed.
        """
        pool: list[_Work | MmsError] = []
        seconds = 0.0
        for job in jobs:
            work = self._prepare(job)
            pool.append(work)
            seconds += work.audio.seconds if isinstance(work, _Work) else 0.0
            if seconds >= self._options.pool_seconds or len(pool) >= _POOL_JOBS:
                yield from self._finish(pool, progress)
                pool, seconds = [], 0.0
        yield from self._finish(pool, progress)

    def _prepare(self, job: Job) -> "_Work | MmsError":
        try:
            vocabulary = self._model.vocabulary(job.language)
            decoding = self._decoders.start(job.language, vocabulary, job.hotwords)
            audio = load(
                job.audio,
                self.bundle.manifest.sample_rate,
                self._limits,
                salvage=self._options.salvage,
            )
            wanted = self.bundle.manifest.normalize
            normalization = statistics(audio.samples) if wanted else Normalization(0.0, 1.0)
        except MmsError as error:
            return error
        utterance = Utterance(job.language, vocabulary, audio.seconds, self._model.frame_seconds)
        return _Work(audio, normalization, utterance, decoding)

    def _finish(
        self, pool: list["_Work | MmsError"], progress: Progress | None
    ) -> Iterator[Transcript | MmsError]:
        works = {i: work for i, work in enumerate(pool) if isinstance(work, _Work)}
        rows = [row for i, work in works.items() for row in self._rows(i, work)]
        limits = BatchLimits(
            frames=self._batch_frames(),
            languages=self._model.bank.slots,
            rows_within=self._model.encoder.rows_within,
        )
        batches = plan_batches(rows, limits)
        for number, batch in enumerate(batches):
            following = batches[number + 1] if number + 1 < len(batches) else []
            self._run(batch, works, {row.language for row in following})
            if progress is not None:
                kept = sum(row.window.keep_end - row.window.keep_start for row in batch)
                progress(kept * self._model.frame_seconds)
        found = dict(zip(works, self._hypotheses(list(works.values())), strict=True))
        for index, work in enumerate(pool):
            if isinstance(work, _Work):
                yield transcript(found[index], work.utterance, self._decoders.nbest)
            else:
                yield work

    def _hypotheses(self, works: list["_Work"]) -> list[list[Hypothesis]]:
        try:
            return self._decoders.finish([work.decoding for work in works])
        except ValueError as error:
            raise self._undecodable(error) from error

    def _undecodable(self, error: ValueError) -> BackendError:
        return BackendError(f"{self.bundle.path}: the encoder's logits cannot be decoded: {error}")

    def _rows(self, index: int, work: "_Work") -> list[Row]:
        frames = self._model.geometry.frames(work.audio.samples.size)
        windows = plan_windows(
            frames, self._options.windows, frame_seconds=self._model.frame_seconds
        )
        return [Row(index, work.utterance.language, window) for window in windows]

    def _batch_frames(self) -> int:
        windows = self._options.windows
        full = (windows.seconds + 2 * windows.context_seconds) / self._model.frame_seconds
        return self._options.batch_frames or _FULL_WINDOWS[self._model.device] * round(full)

    def _run(self, batch: list[Row], works: dict[int, "_Work"], following: set[str]) -> None:
        """Run a batch; on a GPU, bring the languages of the following one in meanwhile."""
        segments = [
            works[row.utterance].segment(
                self._model.geometry.span(row.window.start, row.window.end)
            )
            for row in batch
        ]
        with self._model.encoder.emission(segments) as emission:
            self._model.bank.prefetch(sorted(following))
            steps = [Step(works[row.utterance].decoding, row.window.kept) for row in batch]
            try:
                self._decoders.step(steps, emission)
            except ValueError as error:
                raise self._undecodable(error) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """An utterance on its way."""

    audio: Audio
    normalization: Normalization
    """Of the whole audio: a window's own would differ."""
    utterance: Utterance
    decoding: Decoding

    def segment(self, span: slice) -> Segment:
        """Return the normalised samples of `span`."""
        samples = self.normalization.apply(self.audio.samples[span])
        return Segment(samples, self.utterance.language)
