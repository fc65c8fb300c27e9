"""Speech of the demo clips joined with pauses, and helpers to run it through a stream."""

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
    """Yield pieces of the given sizes until the sound ends."""
    start = 0
    for size in sizes:
        if start >= len(sound):
            return
        yield sound[start : start + size]
        start += size


def run(stream: Stream, pieces: Iterable[np.ndarray | bytes]) -> list[Event]:
    """Feed pieces and finish; return all events."""
    return [*(event for piece in pieces for event in stream.feed(piece)), *stream.finish()]


def count_steps(stream: Stream) -> list[int]:
    """Return a list that grows by one item per encoder step of the stream."""
    steps, encode = [], stream._model.encode
    stream._model.encode = lambda *rows: steps.append(1) or encode(*rows)
    return steps


def finals(events: Iterable[Event]) -> list[tuple[str, float, tuple]]:
    """Return text, start and words of the final events."""
    found = [event for event in events if isinstance(event, Final)]
    return [(final.transcript.text, final.start, final.transcript.words) for final in found]


def texts(events: Iterable[Event]) -> list[tuple[str, float, list[tuple[str, float, float]]]]:
    """Return text, start and words of the final events, without confidences."""
    return [
        (text, start, [(word.text, word.start, word.end) for word in words])
        for text, start, words in finals(events)
    ]


def ends(events: Iterable[Event]) -> list[tuple[str, float]]:
    """Return reason and time of the endpoints."""
    return [(event.reason, event.at) for event in events if isinstance(event, Endpoint)]


def retractions(events: Iterable[Event]) -> list[tuple[str, str]]:
    """Return each stable text that a later text of its utterance does not begin with."""
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
