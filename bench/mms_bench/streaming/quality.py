"""The figures of one way to hear recordings live, over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mms_bench.schema import Figure
from mms_bench.streaming.offline import Offline
from mms_bench.streaming.recordings import Recording
from mms_bench.streaming.shown import (
    Shown,
    Spoken,
    average_lagging,
    emitted,
    unstable_words,
)
from mms_engine.asr.scoring import Scored, score

FIGURES = (
    Figure("cer", "CER", "share"),
    Figure("cer_ratio", "CER over offline's", "ratio"),
    Figure("cer_offline", "CER against offline's text", "share"),
    Figure("delay_p50", "emission delay p50", "seconds"),
    Figure("delay_p95", "delay p95", "seconds"),
    Figure("delay_p99", "delay p99", "seconds"),
    Figure("first", "first partial p50", "seconds"),
    Figure("final", "final text p50", "seconds"),
    Figure("laal", "LAAL", "seconds"),
    Figure("upwr", "UPWR", "ratio"),
    Figure("compute", "CPU seconds per second of audio", "number"),
    Figure("cost", "compute over offline's", "ratio"),
)


@dataclass(slots=True)
class Tally:
    """What was counted over recordings, utterance by utterance."""

    texts: list[str] = field(default_factory=list)
    """One a recording."""
    cpu_seconds: float = 0.0
    delays: list[float] = field(default_factory=list)
    """Emission delay of each word: from its end to when it was shown for good, seconds."""
    firsts: list[float] = field(default_factory=list)
    """From the beginning of an utterance's first word to its first text, seconds."""
    finals: list[float] = field(default_factory=list)
    """From the end of an utterance's last word to its final text, seconds."""
    lags: list[float] = field(default_factory=list)
    """LAAL of each utterance, seconds."""
    unstable: int = 0
    words: int = 0

    def add(self, shown: Sequence[Shown], cpu_seconds: float, offline: Offline) -> None:
        """Take in a recording.

        Raises:
            WorkerFailed: its text cannot be aligned to it.
        """
        words = [word for one in shown for word in one.words]
        spoken = offline.spoken(words)
        self.texts.append(" ".join(words))
        self.cpu_seconds += cpu_seconds
        self.words += len(words)
        place = 0
        for one in shown:
            self.unstable += unstable_words(one)
            if one.words:
                part = slice(place, place + len(one.words))
                self._time(one, Spoken(spoken.starts[part], spoken.ends[part]), offline)
                place += len(one.words)

    def _time(self, shown: Shown, spoken: Spoken, offline: Offline) -> None:
        times = emitted(shown)
        begin, end = spoken.starts[0], spoken.ends[-1]
        self.delays += [at - ended for at, ended in zip(times, spoken.ends, strict=True)]
        self.firsts.append(next(one.at for one in shown.displays if one.words) - begin)
        self.finals.append(shown.displays[-1].at - end)
        beside = sum(begin <= (word.start + word.end) / 2 <= end for word in offline.words)
        self.lags.append(average_lagging(times, spoken, beside))


def figures(
    tally: Tally, recordings: Sequence[Recording], offline: Sequence[Offline]
) -> dict[str, float]:
    """Return the figures of a tally over recordings; `FIGURES` has what they are."""
    seconds = sum(recording.seconds for recording in recordings)
    cer = error_rate(recordings, [recording.text for recording in recordings], tally.texts)
    whole = whole_figures(recordings, offline)
    p50, p95, p99 = np.percentile(tally.delays or [0.0], (50, 95, 99)).tolist()
    compute = tally.cpu_seconds / seconds
    return {
        "cer": cer,
        "cer_ratio": cer / whole["cer"] if whole["cer"] else float(cer > 0) + 1,
        "cer_offline": error_rate(recordings, [one.text for one in offline], tally.texts),
        "delay_p50": p50,
        "delay_p95": p95,
        "delay_p99": p99,
        "first": float(np.median(tally.firsts or [0.0])),
        "final": float(np.median(tally.finals or [0.0])),
        "laal": float(np.mean(tally.lags or [0.0])),
        "upwr": tally.unstable / max(1, tally.words),
        "compute": compute,
        "cost": compute / whole["compute"],
    }


def whole_figures(recordings: Sequence[Recording], offline: Sequence[Offline]) -> dict[str, float]:
    """Return the figures that the engine has on whole recordings."""
    seconds = sum(recording.seconds for recording in recordings)
    references = [recording.text for recording in recordings]
    return {
        "cer": error_rate(recordings, references, [one.text for one in offline]),
        "compute": sum(one.cpu_seconds for one in offline) / seconds,
    }


def error_rate(
    recordings: Sequence[Recording], references: Sequence[str], texts: Sequence[str]
) -> float:
    """Return the character error rate, pooled: edits over characters of the references."""
    scored = [
        Scored("", recording.language, reference, text)
        for recording, reference, text in zip(recordings, references, texts, strict=True)
    ]
    return score(scored).total.cer
