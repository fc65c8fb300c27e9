"""Routes of recordings: the jobs of a recording whose language is identified, and their join."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mms_engine.asr.jobs import Job, JobResult
from mms_engine.routing.rerank import Candidate, RerankWeights, rerank
from mms_engine.routing.switching import LanguageSpan
from mms_engine.types import UNDETERMINED, Audio, LanguageSegment, Transcript, Word

_LEAST = 1e-6
"""Least probability of a language whose text is examined."""


class Route(Protocol):
    """Jobs in given languages that stand for one whose language is identified."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs."""
        ...

    def join(self, results: Sequence[JobResult]) -> Transcript:
        """Return the transcript of the recording from the results of the jobs, in their order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Recording whose language the caller gave."""

    jobs: tuple[Job, ...]

    def join(self, results: Sequence[JobResult]) -> Transcript:
        """Return the transcript."""
        return results[0].unwrap()


@dataclass(frozen=True, slots=True, eq=False)
class Silent:
    """Recording without speech: an empty transcript of an undetermined language."""

    audio: Audio
    jobs: tuple[Job, ...] = ()

    def join(self, results: Sequence[JobResult]) -> Transcript:
        """Return the empty transcript."""
        del results
        return Transcript(
            text="",
            language=UNDETERMINED,
            words=(),
            duration=self.audio.seconds,
            confidence=0.0,
            missing=self.audio.missing,
            warnings=(*self.audio.warnings, "no speech, so no language was identified"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """Recording in one language."""

    jobs: tuple[Job, ...]
    probability: float
    warnings: tuple[str, ...] = ()

    def join(self, results: Sequence[JobResult]) -> Transcript:
        """Return the transcript with its language's probability."""
        return identified(results[0].unwrap(), self.probability, self.warnings)


@dataclass(frozen=True, slots=True, eq=False)
class Reranked:
    """Recording decoded in several languages, of which the text decides."""

    jobs: tuple[Job, ...]
    """Scored jobs, most likely language first."""
    probabilities: tuple[float, ...]
    """Probability of each language by identification."""
    weights: RerankWeights
    warnings: tuple[str, ...] = ()

    def join(self, results: Sequence[JobResult]) -> Transcript:
        """Return the transcript of the best candidate, with its share of the weighted scores."""
        candidates = [
            Candidate(result.unwrap(), math.log(max(own, _LEAST)), result.path_log_prob or 0.0)
            for result, own in zip(results, self.probabilities, strict=True)
        ]
        best, probability = rerank(candidates, self.weights)
        return identified(candidates[best].transcript, round(probability, 4), self.warnings)


def identified(transcript: Transcript, probability: float, warnings: tuple[str, ...]) -> Transcript:
    """Return a transcript whose one language was identified with a probability."""
    segment = LanguageSegment(
        0.0, transcript.duration, transcript.language, probability, transcript.text
    )
    return dataclasses.replace(
        transcript,
        language_probability=probability,
        segments=(segment,),
        warnings=(*transcript.warnings, *warnings),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Switched:
    """Recording in parts of one language each."""

    audio: Audio
    jobs: tuple[Job, ...]
    """Jobs of the parts with an adapter, in order."""
    spans: tuple[LanguageSpan, ...]
    """All parts."""
    languages: tuple[tuple[str, bool], ...]
    """Code of each part, and whether it has a job."""
    frame_seconds: float
    warnings: tuple[str, ...] = ()

    def join(self, results: Sequence[JobResult]) -> Transcript:
        """Return the transcript of all parts."""
        remaining = iter(results)
        segments: list[LanguageSegment] = []
        words: list[Word] = []
        confidences: list[tuple[float, float]] = []
        remarks: dict[str, None] = dict.fromkeys(self.audio.warnings)
        for span, (language, has_job) in zip(self.spans, self.languages, strict=True):
            start = round(span.start * self.frame_seconds, 3)
            is_last = span is self.spans[-1]
            end = round(self.audio.seconds if is_last else span.end * self.frame_seconds, 3)
            text = ""
            if has_job:
                own = next(remaining).unwrap()
                text = own.text
                words += [_shifted(word, start) for word in own.words]
                confidences.append((own.confidence, sum(w.end - w.start for w in own.words)))
                remarks.update(dict.fromkeys(own.warnings))
            segments.append(LanguageSegment(start, end, language, span.probability, text))
        main = _main_language(segments)
        seconds = sum(length for _, length in confidences)
        total = sum(confidence * length for confidence, length in confidences)
        return Transcript(
            text=" ".join(segment.text for segment in segments if segment.text),
            language=main.language,
            words=tuple(words),
            duration=self.audio.seconds,
            confidence=round(total / seconds, 6) if seconds else 0.0,
            missing=self.audio.missing,
            warnings=(*remarks, *self.warnings),
            language_probability=main.probability,
            segments=tuple(segments),
        )


def _shifted(word: Word, seconds: float) -> Word:
    start, end = round(word.start + seconds, 3), round(word.end + seconds, 3)
    return Word(word.text, start, end, word.confidence)


def _main_language(segments: Sequence[LanguageSegment]) -> LanguageSegment:
    """Return the longest segment of the language with most seconds."""
    lengths: dict[str, float] = {}
    for one in segments:
        lengths[one.language] = lengths.get(one.language, 0.0) + one.end - one.start
    main = max(lengths, key=lambda language: lengths[language])
    own = [one for one in segments if one.language == main]
    return max(own, key=lambda one: one.end - one.start)
