"""Quality of a stream's output: what it displayed and when, beside when it was spoken."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mms_bench.run.audio import Recording
from mms_bench.run.result import Figure
from mms_engine.asr.scoring import Scored, score
from mms_engine.asr.streaming import Event, Final, Partial
from mms_engine.types import Transcript, Word

FIGURES = (
    Figure("cer", "CER", "share"),
    Figure("cer_ratio", "CER / offline CER", "ratio"),
    Figure("cer_offline", "CER against the offline text", "share"),
    Figure("delay_p50", "emission delay p50", "seconds"),
    Figure("delay_p95", "delay p95", "seconds"),
    Figure("delay_p99", "delay p99", "seconds"),
    Figure("upwr", "UPWR", "ratio"),
    Figure("compute", "CPU seconds per second of audio", "number"),
    Figure("cost", "compute / offline compute", "ratio"),
)


@dataclass(frozen=True, slots=True)
class Display:
    """Words on display."""

    at: float
    """Seconds of audio fed before it."""
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Utterance:
    """All displays of an utterance, and its final words with their times."""

    displays: tuple[Display, ...]
    """In order; the last one is final."""
    spoken: tuple[Word, ...] = ()


def utterances(events: Iterable[Event]) -> list[Utterance]:
    """Return the displays by utterance; one whose text was withdrawn ends with no words."""
    found: list[Utterance] = []
    displays: list[Display] = []
    for event in events:
        words: tuple[Word, ...] = ()
        if isinstance(event, Partial):
            words = event.words
        elif isinstance(event, Final):
            words = event.transcript.words
        elif not displays:
            continue
        displays.append(Display(event.audio_seconds, tuple(word.text for word in words)))
        if not isinstance(event, Partial):
            found.append(Utterance(tuple(displays), words))
            displays = []
    return found


def emission_times(displays: Sequence[Display]) -> list[float]:
    """Return for each final word the first display from which on it stays in its place."""
    times: list[float] = []
    for place, word in enumerate(displays[-1].words):
        at = displays[-1].at
        for display in reversed(displays):
            if display.words[place : place + 1] != (word,):
                break
            at = display.at
        times.append(at)
    return times


def unstable_words(displays: Sequence[Display]) -> int:
    """Return how many words of partials are gone or changed in the next display.

    The last word of a partial may grow. Divided by the number of final words this is the unstable
    partial word ratio (UPWR) of Shangguan et al., "Analyzing the Quality and Stability of a
    Streaming End-to-End On-Device Speech Recognizer" (Interspeech 2020).
    """
    count = 0
    for before, after in itertools.pairwise(displays):
        old, new = before.words, after.words
        kept = sum(one == other for one, other in zip(old[:-1], new, strict=False))
        grown = bool(old) and len(new) >= len(old) and new[len(old) - 1].startswith(old[-1])
        count += len(old) - kept - grown
    return count


@dataclass(frozen=True, slots=True)
class Offline:
    """Results for whole recordings."""

    recordings: Sequence[Recording]
    transcripts: Sequence[Transcript]
    cpu_seconds: float
    """Processor time of all threads, from samples to text."""

    def error_rate(self, texts: Sequence[str], references: Sequence[str]) -> float:
        """Return the pooled character error rate: edits over characters of the references."""
        languages = [recording.language for recording in self.recordings]
        rows = zip(languages, references, texts, strict=True)
        rate = score([Scored("", *row) for row in rows]).total.cer
        return math.nan if rate is None else rate

    def figures(self) -> dict[str, float]:
        """Return error rate and compute."""
        texts = [transcript.text for transcript in self.transcripts]
        seconds = sum(recording.seconds for recording in self.recordings)
        cer = self.error_rate(texts, [recording.text for recording in self.recordings])
        return {"cer": cer, "compute": self.cpu_seconds / seconds}


@dataclass(slots=True)
class Tally:
    """Counts over recordings, utterance by utterance; times in seconds."""

    texts: list[str] = field(default_factory=list)
    cpu_seconds: float = 0.0
    delays: list[float] = field(default_factory=list)
    """Emission delay of each word: from its end to the display from which on it stays."""
    unstable: int = 0

    def add(self, found: Sequence[Utterance], cpu_seconds: float) -> None:
        """Count the utterances of a recording."""
        self.texts.append(" ".join(word.text for one in found for word in one.spoken))
        self.cpu_seconds += cpu_seconds
        for utterance in found:
            self.unstable += unstable_words(utterance.displays)
            times = emission_times(utterance.displays)
            pairs = zip(times, utterance.spoken, strict=True)
            self.delays += [time - word.end for time, word in pairs]

    def figures(self, offline: Offline) -> dict[str, float]:
        """Return all of `FIGURES`."""
        whole = offline.figures()
        cer = offline.error_rate(self.texts, [one.text for one in offline.recordings])
        p50, p95, p99 = np.percentile(self.delays or [0.0], (50, 95, 99)).tolist()
        compute = self.cpu_seconds / sum(recording.seconds for recording in offline.recordings)
        return {
            "cer": cer,
            "cer_ratio": cer / whole["cer"] if whole["cer"] else float(cer > 0) + 1,
            "cer_offline": offline.error_rate(
                self.texts, [one.text for one in offline.transcripts]
            ),
            "delay_p50": p50,
            "delay_p95": p95,
            "delay_p99": p99,
            "upwr": self.unstable / max(1, len(self.delays)),
            "compute": compute,
            "cost": compute / whole["compute"],
        }
