"""Speech of the demo joined with pauses, and how tests hear it through a stream."""

from collections.abc import Iterable, Iterator

import numpy as np
import soundfile

from engine_demo import demo_clips
from mms_engine.asr.streaming import Endpoint, Event, Final, Partial, Stream

RATE = 16_000


def speech(language: str, *, pause: float = 1.5, seed: int = 0) -> np.ndarray:
    """Return the demo's clips of a language, float32 at 16 kHz, each followed by a pause."""
    random = np.random.default_rng(seed)
    pieces = []
    for clip in demo_clips():
        if clip.language == language:
            samples, rate = soundfile.read(clip.path, dtype="float32")
            assert rate == RATE
            pieces += [samples, random.normal(0, 3e-4, round(pause * RATE)).astype(np.float32)]
    return np.concatenate(pieces)


def cut(sound: np.ndarray, sizes: Iterable[int]) -> Iterator[np.ndarray]:
    """Yield pieces of the given sizes, over and over, until the sound is used up."""
    start = 0
    for size in sizes:
        if start >= len(sound):
            return
        yield sound[start : start + size]
        start += size


def hear(stream: Stream, pieces: Iterable[np.ndarray | bytes]) -> list[Event]:
    """Feed pieces and finish; return all events."""
    events: list[Event] = []
    for piece in pieces:
        events += stream.feed(piece)
    return [*events, *stream.finish()]


def texts(events: Iterable[Event]) -> list[tuple[str, float, list[tuple[str, float, float]]]]:
    """Return what the final events say and when, without confidences."""
    return [
        (text, start, [(word.text, word.start, word.end) for word in words])
        for text, start, words in said(events)
    ]


def said(events: Iterable[Event]) -> list[tuple[str, float, tuple]]:
    """Return what the final events say, with its times."""
    finals = [event for event in events if isinstance(event, Final)]
    return [(final.transcript.text, final.start, final.transcript.words) for final in finals]


def retractions(events: Iterable[Event]) -> list[tuple[str, str]]:
    """Return each place where text that was called stable is not what an utterance begins with."""
    found, stable = [], ""
    for event in events:
        if isinstance(event, Endpoint):
            stable = ""
            continue
        text = event.text if isinstance(event, Partial) else event.transcript.text
        if not text.startswith(stable):
            found.append((stable, text))
        if isinstance(event, Partial):
            stable = event.stable
    return found
