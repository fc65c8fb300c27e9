"""Word and character error rates with bootstrap intervals, in two normalisations."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mms_engine.asr.scoring import load_jiwer, normalize_for_scoring
from mms_engine.languages import all_languages

RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)
_Counts = npt.NDArray[np.float64]

Unit = Literal["word", "character"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A transcript and its reference."""

    language: str
    group: str
    """Clips of a group are drawn together: one speaker, or one sentence."""
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class Interval:
    """Rate in the sample, and the central 95 % of those of its resamples."""

    rate: float
    low: float
    high: float


def plain(text: str, language: str) -> str:  # noqa: ARG001 - one form for all languages
    """Return text as `mms transcribe --reference` compares it.

    NFC, lower case, no punctuation but apostrophes and hyphens, single spaces.
    """
    return normalize_for_scoring(text)


def whisper(text: str, language: str) -> str:
    """Return text in Whisper's normalisation, as transformers has it.

    English is normalised by its English rules (contractions, numbers, titles) without the table of
    British spellings; other languages by the basic ones, which replace marks and symbols by spaces
    and drop what is in brackets; languages without spaces are split into characters.

    Raises:
        ImportError: transformers is not installed.
    """
    normalized: str = _whisper_normalizer(language)(text)
    return " ".join(normalized.split())


@functools.cache
def _whisper_normalizer(language: str) -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import (
        BasicTextNormalizer,
        EnglishTextNormalizer,
    )

    if language == "eng":
        made: Callable[[str], str] = EnglishTextNormalizer({})
    else:
        made = BasicTextNormalizer(split_letters=language in _codes_by_character())
    return made


@functools.cache
def _codes_by_character() -> frozenset[str]:
    return frozenset(language.code for language in all_languages() if language.by_character)


def error_rate(
    readings: Sequence[Reading], unit: Unit, normalize: Callable[[str, str], str]
) -> Interval | None:
    """Return the edits over the units of the references, pooled; `None` if they have no units.

    Character edits include spaces. The interval is that of a bootstrap over the groups, from a
    fixed seed, so that systems on the same clips are drawn alike.

    Raises:
        MmsError: jiwer is not installed.
    """
    totals = _group_totals(readings, unit, normalize)
    if not totals[:, 1].sum():
        return None
    return _interval(_rates(_draws(len(totals)), totals), totals)


def mean_rate(
    languages: Sequence[Sequence[Reading]], unit: Unit, normalize: Callable[[str, str], str]
) -> Interval | None:
    """Return the mean of the languages' error rates; each is resampled by itself."""
    totals = [_group_totals(readings, unit, normalize) for readings in languages]
    totals = [one for one in totals if one[:, 1].sum()]
    if not totals:
        return None
    rates = np.mean([_rates(_draws(len(one)), one) for one in totals], axis=0)
    rate = float(np.mean([one[:, 0].sum() / one[:, 1].sum() for one in totals]))
    low, high = np.nanpercentile(rates, _PERCENTILES)
    return Interval(rate, float(low), float(high))


def _interval(rates: _Counts, totals: _Counts) -> Interval:
    low, high = np.nanpercentile(rates, _PERCENTILES)
    return Interval(float(totals[:, 0].sum() / totals[:, 1].sum()), float(low), float(high))


def _draws(groups: int) -> _Counts:
    """Return how often each group is drawn in each resample: `[RESAMPLES, groups]`."""
    random = np.random.default_rng(0)
    drawn = random.multinomial(groups, np.full(groups, 1 / groups), RESAMPLES)
    return np.asarray(drawn, np.float64)


def _rates(draws: _Counts, totals: _Counts) -> _Counts:
    edits, units = (draws @ totals).T
    found: _Counts = np.divide(edits, units, out=np.full(len(draws), np.nan), where=units > 0)
    return found


def _group_totals(
    readings: Sequence[Reading], unit: Unit, normalize: Callable[[str, str], str]
) -> _Counts:
    """Return edits and units of the references of each group: `[groups, 2]`."""
    jiwer = load_jiwer()
    process = jiwer.process_words if unit == "word" else jiwer.process_characters
    totals: dict[str, list[int]] = {}
    for reading in readings:
        texts = (reading.reference, reading.hypothesis)
        reference, hypothesis = (normalize(text, reading.language) for text in texts)
        found = process(reference, hypothesis)
        edits = found.substitutions + found.deletions + found.insertions
        units = len(reference.split()) if unit == "word" else len(reference)
        total = totals.setdefault(reading.group, [0, 0])
        total[0] += edits
        total[1] += units
    return np.array(list(totals.values()), np.float64).reshape(-1, 2)


def as_figures(named: Mapping[str, Interval | None]) -> dict[str, float]:
    """Return intervals as the figures NAME, NAME_low and NAME_high."""
    figures: dict[str, float] = {}
    for name, found in named.items():
        if found is not None:
            figures |= {name: found.rate, f"{name}_low": found.low, f"{name}_high": found.high}
    return figures
