"""Case `clients`: real-time clients of a stream pool, and how long they wait for events."""

import contextlib
import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mms_bench.errors import Failed, NotMeasured
from mms_bench.run.audio import Recording
from mms_bench.run.context import Context
from mms_bench.run.result import Case, Curve, Figure, Row
from mms_bench.suites.stream.engine import (
    engine_errors,
    long_recordings,
    measure_peers,
    open_recognizer,
    simulate,
)
from mms_engine.asr.pool import PooledStream, PoolOptions
from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.streaming import Endpoint, Event, Final, LanguageChange, StreamOptions
from mms_engine.asr.streaming.language import AUTO, LanguageFinder
from mms_engine.audio import SAMPLE_RATE
from mms_engine.lid.identifier import Identifier
from mms_engine.routing.router import Router

DEADLINE = 0.3
"""Seconds within which 95 of 100 events must follow the audio they need."""
COUNTS = (1, 2, 5, 10, 25, 50, 75, 100, 125, 150, 200)
PATIENCE = 15.0
"""Seconds after the last audio within which all events must arrive."""
_AGREEMENT = 0.9
"""Share of events that must equal those of a stream of its own, else waits mean nothing."""
_PIECE_SECONDS = 0.08
_PIECE = round(_PIECE_SECONDS * SAMPLE_RATE)

CLIENTS = Case(
    name="clients",
    title="Real-time clients",
    timing=(
        f"Wall clock. Each client sends {1000 * _PIECE_SECONDS:g} ms of audio at a time to a pool "
        "in the same process, at the pace of speech; latency `balanced`. The wait of an event is "
        "from when the last audio it needs was due to be sent. The number of clients grows until "
        f"the p95 is over {1000 * DEADLINE:g} ms. Clients `auto` have their language identified."
    ),
    figures=(
        Figure("streams", "streams", "number"),
        Figure("p50", "wait p50", "seconds"),
        Figure("p95", "wait p95", "seconds"),
        Figure("p99", "wait p99", "seconds"),
        Figure("last_p95", "wait for the last event p95", "seconds"),
        Figure("agreed", "events equal to a stream of its own", "share"),
    ),
    curves=(Curve("streams", "p95"),),
)


Talk = tuple[Recording, tuple[Event, ...]]
"""A recording that clients speak, and the events of a stream of its own."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Recogniser of clients, and what they say."""

    recognizer: Recognizer
    talks: Sequence[Talk]
    finder: LanguageFinder | None = None
    """Identification model of streams that find their language."""

    @classmethod
    def of(
        cls,
        recognizer: Recognizer,
        recordings: Sequence[Recording],
        seconds: float,
        finder: LanguageFinder | None = None,
    ) -> "Crowd":
        """Cut recordings to a length and run a stream on each."""
        size = round(seconds * SAMPLE_RATE)
        cut = [replace(recording, samples=recording.samples[:size]) for recording in recordings]
        options = StreamOptions()
        talks = [(one, simulate(recognizer, one, options, finder)[0]) for one in cut]
        return cls(recognizer, talks, finder)


@dataclass(frozen=True, slots=True)
class Client:
    """A client while it speaks."""

    recording: Recording
    alone: tuple[Event, ...]
    """Events of a stream of its own."""
    stream: PooledStream
    start: float
    """Beginning of its audio on the clock of `time.monotonic`."""

    def due(self, audio_seconds: float) -> float:
        """Return when the piece with the audio up to a time was due to be sent."""
        return self.start + -(-round(audio_seconds * SAMPLE_RATE) // _PIECE) * _PIECE_SECONDS


def measure_clients(context: Context) -> list[Row]:
    """Add clients to each of our peers until they wait too long."""
    return measure_peers(context, CLIENTS, _measure)


def _measure(context: Context, peer: str) -> list[Row]:
    recognizer = open_recognizer(context.options, peer)
    recordings = long_recordings(context)
    with _finder(context.options.identifier, recognizer) as finder:
        crowds = {peer: Crowd.of(recognizer, recordings, context.options.seconds)}
        if finder:
            found = Crowd.of(recognizer, recordings, context.options.seconds, finder)
            crowds[f"{peer} {AUTO}"] = found
        return _grow(context, crowds)


@contextlib.contextmanager
def _finder(bundle: Path | None, recognizer: Recognizer) -> Iterator[LanguageFinder | None]:
    if bundle is None:
        yield None
        return
    with engine_errors(), Identifier.open(bundle, threads=1) as identifier:
        yield Router(recognizer, identifier).finder()


def _grow(context: Context, crowds: Mapping[str, Crowd]) -> list[Row]:
    """Add clients to crowds in turns, to each until they wait too long."""
    rows: list[Row] = []
    sustained = {name: {"streams": 0.0} for name in crowds}
    growing = dict(crowds)
    for count in COUNTS:
        for name, crowd in list(growing.items()):
            row = f"{name} {count} streams"
            context.tell(row)
            try:
                figures = speak(crowd, count)
            except NotMeasured as reason:
                rows.append(Row(case=CLIENTS.name, implementation=row).refused(reason))
                del growing[name]
                continue
            rows.append(Row(case=CLIENTS.name, implementation=row, figures=figures, series=name))
            if figures["p95"] > DEADLINE:
                del growing[name]
            else:
                sustained[name] = figures
    last = [
        Row(case=CLIENTS.name, implementation=f"{name} sustained", figures=figures)
        for name, figures in sustained.items()
    ]
    return [*rows, *last]


@engine_errors()
def speak(crowd: Crowd, count: int) -> dict[str, float]:
    """Run clients that start at evenly spread times within a chunk; return the figures."""
    options = StreamOptions()
    chosen = [crowd.talks[number % len(crowd.talks)] for number in range(count)]
    pool_options = PoolOptions(max_streams=count, admission=False)
    with crowd.recognizer.pool(pool_options, finder=crowd.finder) as pool:
        languages = [AUTO if crowd.finder else recording.language for recording, _ in chosen]
        streams = [pool.open(language, options) for language in languages]
        begin, spread = time.monotonic() + 0.2, options.contexts.chunk_seconds / count
        clients = [
            Client(*talk, stream, begin + number * spread)
            for number, (talk, stream) in enumerate(zip(chosen, streams, strict=True))
        ]
        _feed(clients)
        try:
            return _figures(clients, [_collect(client) for client in clients])
        except TimeoutError as error:
            raise Failed(f"fell behind: not done {PATIENCE:g} s after the end") from error


def _feed(clients: Sequence[Client]) -> None:
    """Send each piece of audio when its last sample would have been spoken."""
    turns = [
        (client.start + (1 + place // _PIECE) * _PIECE_SECONDS, number, place)
        for number, client in enumerate(clients)
        for place in range(0, len(client.recording.samples), _PIECE)
    ]
    for when, number, place in sorted(turns):
        time.sleep(max(0.0, when - time.monotonic()))
        samples, stream = clients[number].recording.samples, clients[number].stream
        stream.feed(samples[place : place + _PIECE])
        if place + _PIECE >= len(samples):
            stream.finish()


def _collect(client: Client) -> list[Event]:
    end = client.due(client.recording.seconds) + PATIENCE
    return list(client.stream.events(timeout=max(0.1, end - time.monotonic())))


def _figures(clients: Sequence[Client], found: Sequence[list[Event]]) -> dict[str, float]:
    waits: list[float] = []
    last: list[float] = []
    for client, events in zip(clients, found, strict=True):
        # Sums of a batch may round differently: only equal events are compared.
        keys = [*map(_key, client.alone)], [*map(_key, events)]
        for first, second, size in difflib.SequenceMatcher(
            None, *keys, False
        ).get_matching_blocks():
            pairs = zip(client.alone[first : first + size], events[second:], strict=False)
            waits += [own.wall_seconds - client.due(one.audio_seconds) for one, own in pairs]
        finished = client.due(client.recording.seconds)
        last += [event.wall_seconds - finished for event in events[-1:]]
    agreement = len(waits) / max(1, sum(map(len, found)))
    if agreement < _AGREEMENT:
        raise Failed(f"only {agreement:.1%} of events equal those of a stream of its own")
    p50, p95, p99 = np.percentile(waits or [0.0], (50, 95, 99)).tolist()
    return {
        "streams": float(len(clients)),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "last_p95": float(np.percentile(last or [0.0], 95)),
        "agreed": agreement,
    }


def _key(event: Event) -> tuple[str, str]:
    if isinstance(event, Endpoint):
        return event.reason, f"{event.at}"
    if isinstance(event, LanguageChange):
        return event.type, f"{event.label} {event.at}"
    return event.type, event.transcript.text if isinstance(event, Final) else event.text
