"""Router: recognition of recordings and streams whose language is identified."""

import dataclasses
from collections.abc import Iterable, Iterator

from mms_engine.asr.jobs import Job, JobResult
from mms_engine.asr.pool import PoolOptions, StreamPool
from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.streaming import Stream, StreamOptions
from mms_engine.asr.streaming.language import AUTO
from mms_engine.audio.sources import AudioSource
from mms_engine.decoding.options import HotwordPhrases
from mms_engine.encoder.offline import Progress
from mms_engine.errors import LanguageError, MmsError
from mms_engine.languages import all_languages
from mms_engine.lid.activity import BoolArray, FrameLevels
from mms_engine.lid.identifier import Identifier
from mms_engine.routing.candidates import Candidates, Scores, find_candidates
from mms_engine.routing.finder import StreamFinder
from mms_engine.routing.options import RoutingOptions
from mms_engine.routing.recordings import Given, Reranked, Route, Silent, Switched, Whole
from mms_engine.routing.switching import LanguageSpan, Timing, language_spans
from mms_engine.types import Audio, Transcript

_KEPT = 256
"""Choices of languages that are kept, since clients of a server name any."""


def is_auto(language: str) -> bool:
    """Return whether a language is to be identified: `auto`, or `auto:` and languages."""
    return language.partition(":")[0] == AUTO


class Router:
    """Recognition with identified languages. May be used from several threads at once.

    It uses a recogniser and an identifier that the caller opens and closes. Nothing is loaded anew
    when a language changes: the adapter is chosen per row of the encoder's batch.
    """

    def __init__(
        self, recognizer: Recognizer, identifier: Identifier, options: RoutingOptions | None = None
    ) -> None:
        """Use a recogniser and an identifier.

        Args:
            recognizer: Speech recogniser with adapters.
            identifier: Identifier; its floor of the logit and least speech apply.
            options: Options.

        Raises:
            LanguageError: `among` has an unknown language, or none that can be used.
        """
        self._recognizer = recognizer
        self._identifier = identifier
        self.options = options or RoutingOptions()
        """Options."""
        self._windows = identifier.windows()
        self._candidates: dict[str, Candidates] = {}
        self.candidates()

    def __repr__(self) -> str:
        return f"Router({self._recognizer!r}, {self._identifier!r})"

    def candidates(self, language: str = AUTO) -> Candidates:
        """Return the languages that `auto` or `auto:eng,fra` chooses from.

        Raises:
            LanguageError: a language is unknown, or none can be used.
        """
        found = self._candidates.get(language)
        if found is None:
            _, has_own, own = language.partition(":")
            found = find_candidates(
                self._identifier.labels,
                self._recognizer.languages,
                own.split(",") if has_own else self.options.among,
                with_adapter=self.options.nearest,
            )
            if len(self._candidates) >= _KEPT:
                self._candidates.clear()
            self._candidates[language] = found
        return found

    def transcribe(
        self,
        audio: AudioSource,
        language: str = AUTO,
        *,
        sample_rate: int | None = None,
        hotwords: HotwordPhrases | None = None,
    ) -> Transcript:
        """Transcribe one audio in the language that is spoken.

        Args:
            audio: As for `Recognizer.transcribe`.
            language: `auto`, `auto:eng,fra` to choose among these, or a code.
            sample_rate: Sample rate of an array in Hz; by default the bundle's.
            hotwords: As for `Recognizer.transcribe`.

        Raises:
            LanguageError: the spoken language has no adapter, and `nearest` is not set; or a
                language is unknown.
            MmsError: as for `Recognizer.transcribe`.
        """
        job = Job(audio, language, sample_rate=sample_rate, hotwords=hotwords)
        return next(iter(self.transcribe_each([job]))).unwrap()

    def transcribe_each(
        self, jobs: Iterable[Job], progress: Progress | None = None
    ) -> Iterator[JobResult]:
        """Transcribe any number of jobs; one that fails has an error and the others continue.

        Args:
            jobs: Jobs, whose language may be `auto` or `auto:eng,fra`.
            progress: Called with the seconds of audio finished since its last call.

        Raises:
            BackendError: the device failed.
        """
        return _Run(self, self._recognizer, progress).results(jobs)

    def stream(self, options: StreamOptions | None = None, language: str = AUTO) -> Stream:
        """Begin a stream that finds its language, among those of `auto` or `auto:eng,fra`.

        Text is held back until the language is decided, on the first seconds of speech.

        Raises:
            LanguageError: a language is unknown, or none has an adapter.
            BundleError, BackendError, LanguageModelError: as for `Recognizer.stream`.
        """
        return self._recognizer.stream(AUTO, options, finder=self.finder(language))

    def restore_stream(self, state: bytes, language: str = AUTO) -> Stream:
        """Continue a stream from the state that `Stream.save` returned.

        Raises:
            StreamError: it is damaged, of another model or release, or had other languages to
                choose from.
            MmsError: as for `stream`.
        """
        return self._recognizer.restore_stream(state, finder=self.finder(language))

    def pool(self, options: PoolOptions | None = None, language: str = AUTO) -> StreamPool:
        """Return a pool of streams; those opened in the language `auto` find it.

        Raises:
            LanguageError: as for `stream`.
        """
        return self._recognizer.pool(options, finder=self.finder(language))

    def finder(self, language: str = AUTO) -> StreamFinder:
        """Return the identification model of streams.

        Raises:
            LanguageError: as for `stream`.
        """
        candidates = self.candidates(language)
        if not any(candidates.codes):
            raise LanguageError(f"no language of {language} has an adapter: {_hint(candidates)}")
        return StreamFinder(
            candidates,
            self._windows,
            self._recognizer.geometry.stride,
            self._recognizer.bundle.manifest.sample_rate,
            follow=self.options.switching is not False,
        )

    def route(self, job: Job) -> Route:
        """Return the route of a recording.

        Raises:
            LanguageError: the spoken language has no adapter, and `nearest` is not set.
            MmsError: the audio cannot be read.
        """
        candidates = self.candidates(job.language)
        audio = self._recognizer.read(job.audio, sample_rate=job.sample_rate)
        if self.options.switching:
            return self._switched(job, audio, candidates)
        found = self._identifier.identify(audio, candidates.labels, top=len(candidates.labels))
        if not found.scores:
            return Silent(audio)
        best = found.scores[0]
        code = candidates.code(best.code)
        probability = round(best.probability, 4)
        if code is None:
            raise LanguageError(
                f"the language is {describe(best.code)}, {probability:.0%}, which "
                f"{self._recognizer.bundle.path} has no adapter for: {_hint(candidates)}"
            )
        warnings: tuple[str, ...] = ()
        if found.answer == "unsure":
            warnings = (f"unsure of the language: {describe(best.code)}, {probability:.0%}",)
        read = dataclasses.replace(job, audio=audio, sample_rate=None)
        several: dict[str, float] = {}
        for one in found.scores:
            if other := candidates.code(one.code):
                several.setdefault(other, one.probability)
        chosen = dict(list(several.items())[: self.options.rerank])
        if len(chosen) > 1:
            jobs = [dataclasses.replace(read, language=other, scored=True) for other in chosen]
            return Reranked(tuple(jobs), tuple(chosen.values()), self.options.weights, warnings)
        return Whole((dataclasses.replace(read, language=code),), probability, warnings)

    def _switched(self, job: Job, audio: Audio, candidates: Candidates) -> Route:
        geometry = self._recognizer.geometry
        frames = geometry.frames(audio.samples.size)
        speech = _speech(audio, geometry.stride)
        frame_seconds = geometry.stride / audio.sample_rate
        least = self._identifier.options.min_speech_seconds
        if frames == 0 or int(speech.sum()) * frame_seconds < least:
            return Silent(audio)

        def posteriors(windows: Iterable[tuple[int, int]]) -> list[Scores]:
            pieces = [audio.samples[geometry.span(start, end)] for start, end in windows]
            return [candidates.log_probabilities(own) for own in self._windows.logits(pieces)]

        timing = Timing.of(frame_seconds)
        spans = language_spans(frames, speech, timing, posteriors, self.options.switching_penalty)
        return self._route_spans(job, audio, candidates, spans)

    def _route_spans(
        self, job: Job, audio: Audio, candidates: Candidates, spans: list[LanguageSpan]
    ) -> Route:
        geometry, rate = self._recognizer.geometry, audio.sample_rate
        jobs, languages, warnings = [], [], []
        for number, span in enumerate(spans):
            label, code = candidates.labels[span.candidate], candidates.codes[span.candidate]
            languages.append((code or label, code is not None))
            start = span.start * geometry.stride
            end = audio.samples.size
            if number + 1 < len(spans):
                end = span.end * geometry.stride
            if code is None:
                warnings.append(
                    f"{start / rate:.1f} to {end / rate:.1f} s are in {describe(label)}, which has "
                    f"no adapter, and are not transcribed: {_hint(candidates)}"
                )
                continue
            own = Audio(audio.samples[start:end], rate)
            jobs.append(dataclasses.replace(job, audio=own, language=code, sample_rate=None))
        if not jobs:
            raise LanguageError("; ".join(warnings))
        seconds = geometry.stride / rate
        parts = tuple(spans)
        return Switched(audio, tuple(jobs), parts, tuple(languages), seconds, tuple(warnings))


def describe(label: str) -> str:
    """Return a label with its English name, if it has one."""
    name = next((one.name for one in all_languages("lid") if one.code == label), "")
    return f"{label} ({name})" if name else label


def _hint(candidates: Candidates) -> str:
    if not any(candidates.codes):
        return "choose another recogniser"
    return "`nearest` (--nearest) takes the most likely language that has one"


def _speech(audio: Audio, stride: int) -> BoolArray:
    levels = FrameLevels(stride, audio.sample_rate)
    levels.add(audio.samples)
    return levels.speech()


class _Run:
    """Results of jobs, each routed when the recogniser is ready to read it."""

    def __init__(self, router: Router, recognizer: Recognizer, progress: Progress | None) -> None:
        self._router = router
        self._recognizer = recognizer
        self._progress = progress
        self._ready: list[JobResult] = []
        """Results that needed no recognition."""
        self._routes: dict[int, tuple[Job, Route, dict[int, JobResult]]] = {}
        """Job, route and results so far, by the identity of each of the route's jobs."""

    def results(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield the results as they are ready."""
        for result in self._recognizer.transcribe_each(self._inner(jobs)):
            yield from self._take_ready()
            outer = self._outer(result)
            if outer is not None:
                yield outer
        yield from self._take_ready()

    def _take_ready(self) -> Iterator[JobResult]:
        ready, self._ready = self._ready, []
        yield from ready

    def _inner(self, jobs: Iterable[Job]) -> Iterator[Job]:
        for job in jobs:
            if not is_auto(job.language):
                own = dataclasses.replace(job)  # the caller may pass a job twice
                self._routes[id(own)] = job, Given((own,)), {}
                yield own
                continue
            try:
                route = self._router.route(job)
            except MmsError as error:
                self._ready.append(JobResult(job, None, error))
                continue
            if not route.jobs:
                self._ready.append(JobResult(job, route.join([])))
            entry: tuple[Job, Route, dict[int, JobResult]] = (job, route, {})
            self._routes.update((id(own), entry) for own in route.jobs)
            yield from route.jobs

    def _outer(self, result: JobResult) -> JobResult | None:
        """Return the result of the job that an inner one belongs to, once all of its are there."""
        entry = self._routes.pop(id(result.job), None)
        if entry is None:  # another part of the recording failed
            return None
        job, route, found = entry
        if result.transcript is None:
            for own in route.jobs:
                self._routes.pop(id(own), None)
            return JobResult(job, None, result.error)
        found[id(result.job)] = result
        if len(found) < len(route.jobs):
            return None
        transcript = route.join([found[id(own)] for own in route.jobs])
        if self._progress is not None:
            self._progress(transcript.duration)
        return JobResult(job, transcript)
