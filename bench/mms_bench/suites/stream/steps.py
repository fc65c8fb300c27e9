"""Case `steps`: CPU time of one step of each kind of context, at the same sizes."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mms_bench.run.audio import clips
from mms_bench.run.context import Context
from mms_bench.run.race import repeat_call
from mms_bench.run.result import Case, Row
from mms_bench.suites.stream.engine import engine_errors, measure_peers, open_recognizer
from mms_engine.asr.streaming import LATENCIES, EndpointOptions, Stream, StreamOptions
from mms_engine.audio import SAMPLE_RATE
from mms_engine.types import Float32Array

_BALANCED = LATENCIES["balanced"]
_LEVEL = 0.05

STEPS = Case(
    name="steps",
    title="A step of a stream with a full left context",
    timing=(
        "CPU seconds of all threads for a chunk of "
        f"{_BALANCED.chunk_seconds:g} s with {_BALANCED.left_seconds:g} s of left and "
        f"{_BALANCED.right_seconds:g} s of right context, from PCM to text."
    ),
    unit="s of audio",
    baseline="window",
)


def measure_steps(context: Context) -> list[Row]:
    """Race the kinds of context of each of our peers."""
    return measure_peers(context, STEPS, _measure)


def _measure(context: Context, peer: str) -> list[Row]:
    recognizer = open_recognizer(context.options, peer)
    sound = clips(context.options.audio, 60.0, 1)[0] * np.float32(_LEVEL)
    context_seconds = _BALANCED.left_seconds + _BALANCED.right_seconds
    timed = []
    for kind in ("window", "cached"):
        options = StreamOptions(
            context=replace(_BALANCED, kind=kind), endpoints=EndpointOptions(skip_silence=False)
        )
        step = _step(recognizer.stream(context.options.languages[0], options), sound)
        for _ in range(2 + round(context_seconds / _BALANCED.chunk_seconds)):
            step()
        name = f"{peer} {kind}"
        row = Row(case=STEPS.name, implementation=name, amount=_BALANCED.chunk_seconds)
        timed.append((row, repeat_call(step)))
    return context.race(timed)


def _step(stream: Stream, sound: Float32Array) -> Callable[[], float]:
    """Return a function that feeds the next chunk and returns the CPU seconds."""
    size = round(_BALANCED.chunk_seconds * SAMPLE_RATE)
    starts = itertools.cycle(range(0, len(sound) - size + 1, size))

    @engine_errors()
    def step() -> float:
        start = next(starts)
        begin = time.process_time()
        stream.feed(sound[start : start + size])
        return time.process_time() - begin

    return step
