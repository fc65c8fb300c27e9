"""One step of each kind of context, at the same sizes."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mms_bench.errors import Refused, WorkerFailed
from mms_bench.inputs import clips
from mms_bench.options import Context
from mms_bench.race import race
from mms_bench.schema import Case, Row
from mms_bench.statistics import summarise
from mms_bench.suites import entries
from mms_bench.suites.stream.setting import engines, open_engine
from mms_engine.asr.streaming import (
    LATENCIES,
    ContextOptions,
    EndpointOptions,
    Stream,
    StreamOptions,
)
from mms_engine.audio import SAMPLE_RATE
from mms_engine.errors import MmsError
from mms_engine.types import ContextKind, Float32Array

_BALANCED = LATENCIES["balanced"]
_KINDS: tuple[ContextKind, ...] = ("window", "cached")
_LEVEL = 0.05

CASE = Case(
    name="steps",
    title="A step of a stream, its left context full",
    timing=(
        "CPU seconds of all threads, not of a clock, for a chunk of "
        f"{_BALANCED.chunk_seconds:g} s with {_BALANCED.left_seconds:g} s before and "
        f"{_BALANCED.right_seconds:g} s behind it: from PCM to text."
    ),
    unit="s of audio",
    baseline="window",
)


@dataclass(slots=True)
class Walk:
    """A stream that is fed a chunk at a time, as a runner of the race."""

    name: str
    stream: Stream
    pieces: Callable[[], Float32Array]
    """Returns the next chunk of audio."""
    ran: float = field(default=0.0)

    def repeat(self, seconds: float, most: int) -> tuple[float, ...]:
        """Take steps for about so many CPU seconds, at least one."""
        taken: list[float] = []
        while not taken or (sum(taken) < seconds and len(taken) < most):
            piece = self.pieces()
            begin = time.process_time()
            try:
                self.stream.feed(piece)
            except MmsError as error:
                raise WorkerFailed(str(error)) from error
            taken.append(time.process_time() - begin)
        return tuple(taken)


def measure(context: Context) -> list[Row]:
    """Race the kinds of context of each engine."""
    rows: list[Row] = []
    for peer in engines(context):
        try:
            walks = _walks(context, peer)
        except Refused as reason:
            rows.append(entries.refusal(CASE.name, peer, reason))
            continue
        laps = race(walks, context.options.pace, context.tell)
        for walk in walks:
            failure, samples = laps[walk.name].failure, tuple(laps[walk.name].samples)
            if failure is not None:
                rows.append(entries.refusal(CASE.name, walk.name, failure))
            else:
                rows.append(_row(walk.name, samples))
    return rows


def _row(name: str, samples: tuple[float, ...]) -> Row:
    return Row(
        case=CASE.name,
        implementation=name,
        status="ok",
        samples=samples,
        summary=summarise(samples),
        amount=_BALANCED.chunk_seconds,
    )


def _walks(context: Context, peer: str) -> list[Walk]:
    """Return a stream of each kind that has heard a whole left context.

    Raises:
        Refused: the engine cannot be loaded, or has no such streams.
    """
    context.tell(f"{peer}: loading")
    engine = open_engine(context, peer)
    sound = clips(context.options.audio, 60.0, 1)[0] * np.float32(_LEVEL)
    walks = []
    for kind in _KINDS:
        try:
            stream = engine.recognizer.stream(context.setup.languages[0], _options(kind))
            walk = Walk(f"{peer} {kind}", stream, _chunks(sound))
        except MmsError as error:
            raise WorkerFailed(str(error)) from error
        sizes = _BALANCED.left_seconds + _BALANCED.right_seconds
        for _ in range(2 + round(sizes / _BALANCED.chunk_seconds)):
            walk.repeat(0.0, 1)
        walks.append(walk)
    return walks


def _options(kind: ContextKind) -> StreamOptions:
    context = ContextOptions(
        kind=kind,
        left_seconds=_BALANCED.left_seconds,
        chunk_seconds=_BALANCED.chunk_seconds,
        right_seconds=_BALANCED.right_seconds,
    )
    return StreamOptions(context=context, endpoints=EndpointOptions(skip_silence=False))


def _chunks(sound: Float32Array) -> Callable[[], Float32Array]:
    """Return a function that gives chunk after chunk of a sound, over and over."""
    size = round(_BALANCED.chunk_seconds * SAMPLE_RATE)
    count = len(sound) // size
    numbers = itertools.cycle(range(count))
    return lambda: sound[(start := next(numbers) * size) : start + size]
