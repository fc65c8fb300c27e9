"""Results of language identification."""

from dataclasses import dataclass

from mms_engine.types.choices import IdentificationAnswer
from mms_engine.types.recognition import Span


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """A language and how likely it is."""

    code: str
    """Label of the model: ISO 639-3."""
    probability: float
    """Probability among the languages to choose from, in [0, 1]."""
    unrestricted_probability: float
    """Probability among all languages of the model, in [0, 1]."""
    logit: float
    """Raw score of the model, the mean over the windows; evidence that other languages do not
    change."""


@dataclass(frozen=True, slots=True)
class LanguageWindow:
    """A part of a recording and its language."""

    start: float
    """Seconds from the start of the audio (inclusive)."""
    end: float
    """Seconds from the start of the audio (exclusive)."""
    speech_seconds: float
    """Speech in it: its weight in the recording's scores."""
    answer: IdentificationAnswer
    language: str | None
    """Code of the best language if the answer is `language`."""
    scores: tuple[LanguageScore, ...]
    """Best languages, best first."""


@dataclass(frozen=True, slots=True)
class Identification:
    """Language of a recording, or that it is not known."""

    answer: IdentificationAnswer
    language: str | None
    """Code of the best language if the answer is `language`."""
    scores: tuple[LanguageScore, ...]
    """Best languages, best first; empty if the answer is `no_speech` or `too_short`."""
    windows: tuple[LanguageWindow, ...]
    """Parts of the recording, in order."""
    seconds: float
    """Duration of the audio."""
    speech_seconds: float
    """Speech in it, by its level."""
    missing: tuple[Span, ...] = ()
    """Spans of the recording that are damaged, in order."""
    warnings: tuple[str, ...] = ()
    """Remarks about the recording; see `Audio.warnings`."""
