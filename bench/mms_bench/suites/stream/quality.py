"""Quality of a stream's output: what it displayed and when, beside when it was spoken."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mms_bench.run.audio import Recording
from mms_bench.run.result import Figure
from mms_bench.suites.stream.engine import Offline, Times
from mms_engine.asr.scoring import Scored, score
from mms_engine.asr.streaming import Event, Final, Partial

FIGURES = (
    Figure("cer", "CER", "share"),
    Figure("cer_ratio", "CER / offline CER", "ratio"),
    Figure("cer_offline", "CER against the offline text", "share"),
    Figure("delay_p50", "emission delay p50", "seconds"),
    Figure("delay_p95", "delay p95", "seconds"),
    Figure("delay_p99", "delay p99", "seconds"),
    Figure("laal", "LAAL", "seconds"),
    Figure("upwr", "UPWR", "ratio"),
    Figure("compute", "CPU seconds per second of audio", "number"),
    Figure("cost", "compute / offline compute", "ratio"),
)


@dataclass(frozen=True, slots=True)
class Display:
    """Text on display."""

    at: float
    """Seconds of audio fed before it."""
    words: tuple[str, ...]


Utterance = tuple[Display, ...]
"""All displays of an utterance, in order; the last one is final."""


def utterances(events: Iterable[Event]) -> list[Utterance]:
    """Return the displays by utterance; one whose text was withdrawn ends with no words."""
    found: list[Utterance] = []
    displays: list[Display] = []
    for event in events:
        if isinstance(event, Partial):
            displays.append(Display(event.audio_seconds, tuple(event.text.split())))
            continue
        if isinstance(event, Final):
            words = tuple(event.transcript.text.split())
            displays.append(Display(event.audio_seconds, words))
        elif displays:
            displays.append(Display(event.audio_seconds, ()))
        if displays:
            found.append(tuple(displays))
            displays = []
    return found


def emission_times(utterance: Utterance) -> list[float]:
    """Return for each final word the first display from which on it stays in its place."""
    times: list[float] = []
    for place, word in enumerate(utterance[-1].words):
        at = utterance[-1].at
        for display in reversed(utterance):
            if display.words[place : place + 1] != (word,):
                break
            at = display.at
        times.append(at)
    return times


def unstable_words(utterance: Utterance) -> int:
    """Return how many words of partials are gone or changed in the next display.

    The last word of a partial may grow. Divided by the number of final words this is the unstable
    partial word ratio (UPWR) of Shangguan et al., "Analyzing the Quality and Stability of a
    Streaming End-to-End On-Device Speech Recognizer" (Interspeech 2020).
    """
    count = 0
    for before, after in itertools.pairwise(utterance):
        old, new = before.words, after.words
        kept = sum(one == other for one, other in zip(old[:-1], new, strict=False))
        grown = bool(old) and len(new) >= len(old) and new[len(old) - 1].startswith(old[-1])
        count += len(old) - kept - grown
    return count


def average_lagging(times: Sequence[float], spoken: Times, reference_words: int) -> float:
    """Return the length-adaptive average lagging (LAAL) of an utterance in seconds.

    Papi et al., "Over-Generation Cannot Be Rewarded" (AutoSimTrans 2022): the mean, over the words
    up to the first displayed after the end of speech, of the time since the first word began, less
    that of a speaker with evenly spaced words.

    Args:
        times: Seconds at which each word was displayed.
        spoken: Beginning and end of each, at least one word.
        reference_words: Words of the reference, which count where they are more.
    """
    begin, end = spoken[0, 0], spoken[-1, 1]
    pace = (end - begin) / max(len(times), reference_words)
    lags = []
    for place, time in enumerate(times):
        lags.append(time - begin - place * pace)
        if time >= end:
            break
    return float(np.mean(lags))


@dataclass(slots=True)
class Tally:
    """Counts over recordings, utterance by utterance; times in seconds."""

    texts: list[str] = field(default_factory=list)
    cpu_seconds: float = 0.0
    delays: list[float] = field(default_factory=list)
    """Emission delay of each word: from its end to the display from which on it stays."""
    lags: list[float] = field(default_factory=list)
    unstable: int = 0

    def add(self, found: Sequence[Utterance], cpu_seconds: float, offline: Offline) -> None:
        """Count the utterances of a recording; Failed if their text cannot be aligned to it."""
        words = [word for utterance in found for word in utterance[-1].words]
        spoken = offline.align(words)
        self.texts.append(" ".join(words))
        self.cpu_seconds += cpu_seconds
        for utterance in found:
            self.unstable += unstable_words(utterance)
            own, spoken = np.split(spoken, [len(utterance[-1].words)])
            if len(own):
                times = emission_times(utterance)
                self.delays += (np.array(times) - own[:, 1]).tolist()
                middles = ((word.start + word.end) / 2 for word in offline.words)
                beside = sum(own[0, 0] <= middle <= own[-1, 1] for middle in middles)
                self.lags.append(average_lagging(times, own, beside))

    def figures(
        self, recordings: Sequence[Recording], offline: Sequence[Offline]
    ) -> dict[str, float]:
        """Return all of `FIGURES`."""
        whole = offline_figures(recordings, offline)
        cer = error_rate(recordings, [one.text for one in recordings], self.texts)
        p50, p95, p99 = np.percentile(self.delays or [0.0], (50, 95, 99)).tolist()
        compute = self.cpu_seconds / sum(recording.seconds for recording in recordings)
        return {
            "cer": cer,
            "cer_ratio": cer / whole["cer"] if whole["cer"] else float(cer > 0) + 1,
            "cer_offline": error_rate(recordings, [one.text for one in offline], self.texts),
            "delay_p50": p50,
            "delay_p95": p95,
            "delay_p99": p99,
            "laal": float(np.mean(self.lags or [0.0])),
            "upwr": self.unstable / max(1, len(self.delays)),
            "compute": compute,
            "cost": compute / whole["compute"],
        }


def offline_figures(
    recordings: Sequence[Recording], offline: Sequence[Offline]
) -> dict[str, float]:
    """Return the figures of whole recordings."""
    texts = [one.text for one in offline]
    seconds = sum(recording.seconds for recording in recordings)
    return {
        "cer": error_rate(recordings, [one.text for one in recordings], texts),
        "compute": sum(one.cpu_seconds for one in offline) / seconds,
    }


def error_rate(
    recordings: Sequence[Recording], references: Sequence[str], texts: Sequence[str]
) -> float:
    """Return the pooled character error rate: edits over characters of the references."""
    return score(
        [
            Scored("", recording.language, reference, text)
            for recording, reference, text in zip(recordings, references, texts, strict=True)
        ]
    ).total.cer
