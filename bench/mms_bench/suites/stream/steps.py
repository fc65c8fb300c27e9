"""Case `steps`: CPU time of one step of each kind of context, at the same sizes."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mms_bench.errors import Failed, NotMeasured
from mms_bench.peers import is_ours
from mms_bench.run.audio import clips
from mms_bench.run.context import Context, timed_row
from mms_bench.run.race import Runner, race, repeat_call
from mms_bench.run.result import Case, Row, refusal
from mms_bench.suites.stream.engine import open_recognizer
from mms_engine.asr.streaming import LATENCIES, EndpointOptions, Stream, StreamOptions
from mms_engine.audio import SAMPLE_RATE
from mms_engine.errors import MmsError
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
    rows: list[Row] = []
    for peer in filter(is_ours, context.options.peers):
        try:
            runners = _runners(context, peer)
        except NotMeasured as reason:
            rows.append(refusal(STEPS.name, peer, reason))
            continue
        found = race(runners, context.options.pace, context.tell)
        for name, samples in found.items():
            row = Row(case=STEPS.name, implementation=name, amount=_BALANCED.chunk_seconds)
            rows.append(timed_row(row, samples))
    return rows


def _runners(context: Context, peer: str) -> list[Runner]:
    """Return a stream with a full left context for each kind."""
    recognizer = open_recognizer(context.setup, peer)
    sound = clips(context.options.audio, 60.0, 1)[0] * np.float32(_LEVEL)
    runners = []
    for kind in ("window", "cached"):
        options = StreamOptions(
            context=replace(_BALANCED, kind=kind), endpoints=EndpointOptions(skip_silence=False)
        )
        step = _step(recognizer.stream(context.setup.languages[0], options), sound)
        context_seconds = _BALANCED.left_seconds + _BALANCED.right_seconds
        for _ in range(2 + round(context_seconds / _BALANCED.chunk_seconds)):
            step()
        runners.append(Runner(f"{peer} {kind}", repeat_call(step)))
    return runners


def _step(stream: Stream, sound: Float32Array) -> Callable[[], float]:
    """Return a function that feeds the next chunk and returns the CPU seconds."""
    size = round(_BALANCED.chunk_seconds * SAMPLE_RATE)
    starts = itertools.cycle(range(0, len(sound) - size + 1, size))

    def step() -> float:
        start = next(starts)
        begin = time.process_time()
        try:
            stream.feed(sound[start : start + size])
        except MmsError as error:
            raise Failed(str(error)) from error
        return time.process_time() - begin

    return step
