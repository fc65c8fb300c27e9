"""What a stream showed and when, and how good that was for who reads it. No audio, no model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mms_engine.asr.streaming import Event, Final, Partial

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Display:
    """A text that was shown."""

    at: float
    """Seconds of audio that had been fed."""
    words: Words


@dataclass(frozen=True, slots=True)
class Shown:
    """All that was shown of an utterance, in order; the last display is final."""

    displays: tuple[Display, ...]

    @property
    def words(self) -> Words:
        """Its final words."""
        return self.displays[-1].words


@dataclass(frozen=True, slots=True)
class Spoken:
    """When the words of an utterance were said: those of its final text, aligned to the audio."""

    starts: tuple[float, ...]
    """Seconds."""
    ends: tuple[float, ...]


def utterances(events: Iterable[Event]) -> list[Shown]:
    """Return what was shown, by utterance; one of which nothing is left ends in no words."""
    found: list[Shown] = []
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
            found.append(Shown(tuple(displays)))
            displays = []
    return found


def emitted(shown: Shown) -> list[float]:
    """Return when each final word was shown for good.

    That is the first display from which on the word stands, whole and as it is in the final text,
    at its place in every display.
    """
    times: list[float] = []
    for place, word in enumerate(shown.words):
        at = shown.displays[-1].at
        for display in reversed(shown.displays):
            if display.words[place : place + 1] != (word,):
                break
            at = display.at
        times.append(at)
    return times


def unstable_words(shown: Shown) -> int:
    """Return how many words of partials did not stand in the next display.

    The last word of a partial may go on growing. Divided by the final words this is the unstable
    partial word ratio after Shangguan et al., "Analyzing the Quality and Stability of a Streaming
    End-to-End On-Device Speech Recognizer" (Interspeech 2020).
    """
    return sum(
        _fallen(before.words, after.words)
        for before, after in zip(shown.displays, shown.displays[1:], strict=False)
    )


def _fallen(before: Words, after: Words) -> int:
    stood = sum(old == new for old, new in zip(before[:-1], after, strict=False))
    last = after[len(before) - 1 : len(before)] if before else ()
    grown = bool(last) and last[0].startswith(before[-1])
    return len(before) - stood - grown


def average_lagging(times: Sequence[float], spoken: Spoken, reference_words: int) -> float:
    """Return the length-adaptive average lagging of an utterance, in seconds.

    LAAL of Papi et al., "Over-Generation Cannot Be Rewarded" (AutoSimTrans 2022): the mean, over
    the words up to the first that was shown after all was said, of the time since the utterance's
    first word began, less that of a speaker whose words are spread evenly.

    Args:
        times: When each word was shown, seconds.
        spoken: When each was said; at least one word.
        reference_words: Words of the reference, which count where they are more.
    """
    begin, end = spoken.starts[0], spoken.ends[-1]
    pace = (end - begin) / max(len(times), reference_words)
    lags = []
    for place, time in enumerate(times):
        lags.append(time - begin - place * pace)
        if time >= end:
            break
    return sum(lags) / len(lags)
