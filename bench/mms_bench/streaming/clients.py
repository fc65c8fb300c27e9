"""Clients that speak in real time to a pool, and how long they wait for what is shown."""

import difflib
import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mms_bench.errors import WorkerFailed
from mms_bench.streaming.listen import listen
from mms_bench.streaming.offline import Engine
from mms_bench.streaming.recordings import Recording
from mms_engine.asr.pool import PooledStream, PoolOptions, StreamPool
from mms_engine.asr.streaming import Endpoint, Event, Final, StreamOptions
from mms_engine.audio import SAMPLE_RATE
from mms_engine.errors import MmsError

PIECE_SECONDS = 0.08
"""Audio that a client sends at a time."""
PATIENCE = 15.0
"""Seconds after the last audio in which all must have been shown."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A recording that clients speak, and what a stream alone makes of it."""

    recording: Recording
    events: tuple[Event, ...]
    """Their `audio_seconds` say which audio each needed."""


@dataclass(slots=True)
class Client:
    """A client while it speaks."""

    talk: Talk
    stream: PooledStream
    start: float
    """When it begins, on the clock of `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long clients waited, seconds."""

    shown: list[float]
    """For each event: from when the last piece of audio that it needed was due to be sent."""
    last: list[float]
    """For each client: from when its stream was due to finish to the last event."""
    first: list[float]
    """For each client that was shown any text: from the beginning of its audio to that."""
    agreed: float
    """Share of the events that a stream alone gives too. It gives more at the end: a partial for
    audio after which a client of the pool has finished already."""


def make_talks(
    engine: Engine, recordings: Sequence[Recording], seconds: float, options: StreamOptions
) -> list[Talk]:
    """Cut recordings to a length and hear each alone."""
    talks = []
    for recording in recordings:
        samples = recording.samples[: round(seconds * SAMPLE_RATE)]
        cut = Recording(samples, recording.language, recording.text)
        talks.append(Talk(cut, listen(engine, cut, options).events))
    return talks


def speak(engine: Engine, talks: Sequence[Talk], count: int, options: StreamOptions) -> Waits:
    """Let clients speak at once, each beginning at another time within a chunk.

    Raises:
        WorkerFailed: a stream failed, or was not done in time.
    """
    limits = PoolOptions(max_streams=count, admission=False)
    with engine.recognizer.pool(limits) as pool:
        try:
            clients = _open(pool, talks, count, options)
            _feed(clients)
            heard = [_collect(client) for client in clients]
        except TimeoutError as error:
            raise WorkerFailed(f"fell behind: not done {PATIENCE:g} s after the end") from error
        except MmsError as error:
            raise WorkerFailed(str(error)) from error
    return _waits(clients, heard)


def _open(
    pool: StreamPool, talks: Sequence[Talk], count: int, options: StreamOptions
) -> list[Client]:
    chosen = [talks[number % len(talks)] for number in range(count)]
    streams = [pool.open(talk.recording.language, options) for talk in chosen]
    begin, spread = time.monotonic() + 0.2, options.contexts.chunk_seconds / count
    return [
        Client(talk, stream, begin + number * spread)
        for number, (talk, stream) in enumerate(zip(chosen, streams, strict=True))
    ]


def _feed(clients: Sequence[Client]) -> None:
    """Send every client's audio, each piece when its last sample would have been spoken."""
    size = round(PIECE_SECONDS * SAMPLE_RATE)
    due = [(client.start + PIECE_SECONDS, number, 0) for number, client in enumerate(clients)]
    heapq.heapify(due)
    while due:
        when, number, place = heapq.heappop(due)
        time.sleep(max(0.0, when - time.monotonic()))
        client = clients[number]
        samples = client.talk.recording.samples
        client.stream.feed(samples[place : place + size])
        if place + size < len(samples):
            heapq.heappush(due, (when + PIECE_SECONDS, number, place + size))
        else:
            client.stream.finish()


def _collect(client: Client) -> list[Event]:
    end = _sent_at(client, client.talk.recording.seconds) + PATIENCE
    return list(client.stream.events(timeout=max(0.1, end - time.monotonic())))


def _sent_at(client: Client, audio_seconds: float) -> float:
    """Return when the piece was due that holds the audio up to a time."""
    samples = round(audio_seconds * SAMPLE_RATE)
    pieces = -(-samples // round(PIECE_SECONDS * SAMPLE_RATE))
    return client.start + pieces * PIECE_SECONDS


def _waits(clients: Sequence[Client], heard: Sequence[list[Event]]) -> Waits:
    shown: list[float] = []
    last: list[float] = []
    first: list[float] = []
    events = 0
    for client, own in zip(clients, heard, strict=True):
        alone = client.talk.events
        events += len(own)
        for old, new in _matched(alone, own):
            sent = _sent_at(client, alone[old].audio_seconds)
            shown.append(own[new].wall_seconds - sent)
        if own:
            finished = _sent_at(client, client.talk.recording.seconds)
            last.append(own[-1].wall_seconds - finished)
        texts = [event for event in own if not isinstance(event, Endpoint)]
        if texts:
            first.append(texts[0].wall_seconds - client.start)
    return Waits(shown, last, first, len(shown) / max(1, events))


def _matched(alone: Sequence[Event], own: Sequence[Event]) -> list[tuple[int, int]]:
    """Pair events that say the same, in order: sums of a batch may round otherwise."""
    matcher = difflib.SequenceMatcher(
        None, [_key(event) for event in alone], [_key(event) for event in own], autojunk=False
    )
    return [
        (block.a + step, block.b + step)
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    ]


def _key(event: Event) -> tuple[str, str]:
    if isinstance(event, Endpoint):
        return event.reason, f"{event.at}"
    if isinstance(event, Final):
        return "final", event.transcript.text
    return "partial", event.text
