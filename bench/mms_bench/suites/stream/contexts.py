"""Case `contexts`: error rate, delay and compute of each streaming context, in audio time."""

import time

from mms_bench.errors import NotMeasured
from mms_bench.run.audio import Recording
from mms_bench.run.context import Context
from mms_bench.run.result import Case, Curve, Row
from mms_bench.suites.stream.engine import (
    engine_errors,
    long_recordings,
    measure_peers,
    open_recognizer,
    simulate,
)
from mms_bench.suites.stream.quality import FIGURES, Offline, Tally, utterances
from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.streaming import LATENCIES, ContextOptions, StreamOptions
from mms_engine.audio import SAMPLE_RATE
from mms_engine.types import Audio, ContextKind

CONTEXTS = Case(
    name="contexts",
    title="Error rate, delay and compute of streaming contexts",
    timing=(
        "No clock: audio is fed 20 ms at a time, as if computing took no time. Compute is CPU "
        "seconds of all threads, decoding included. The emission delay of a word is from its end, "
        "as the final transcript times it, to the first display from which on it stays. "
        "`cached 5/0.64/0.32`: left context, chunk and right context in seconds."
    ),
    figures=FIGURES,
    curves=(Curve("delay_p50", "cer"), Curve("compute", "cer")),
)
_SIZES: tuple[tuple[ContextKind, float, float, float], ...] = (
    ("cached", 5, 0.16, 0.16),
    ("cached", 5, 0.32, 0.16),
    ("cached", 5, 0.32, 0.32),
    ("cached", 5, 0.48, 0.32),
    ("cached", 5, 1, 0.48),
    ("window", 5, 0.2, 0.24),
    ("window", 5, 0.64, 0.32),
    ("window", 10, 2, 1),
)
POINTS = {
    **{str(name): StreamOptions(latency=name) for name in LATENCIES},
    **{f"{name}/tentative": StreamOptions(latency=name, tentative=True) for name in LATENCIES},
    **{
        f"{kind} {left:g}/{chunk:g}/{right:g}": StreamOptions(
            context=ContextOptions(
                kind=kind, left_seconds=left, chunk_seconds=chunk, right_seconds=right
            )
        )
        for kind, left, chunk, right in _SIZES
    },
}
"""Streams by the names of their rows."""


def measure_contexts(context: Context) -> list[Row]:
    """Measure the contexts of each of our peers."""
    return measure_peers(context, CONTEXTS, _measure)


def _measure(context: Context, peer: str) -> list[Row]:
    recognizer = open_recognizer(context.options, peer)
    context.tell(f"{peer}: whole recordings")
    offline = transcribe(recognizer, long_recordings(context))
    rows = [Row(case=CONTEXTS.name, implementation=f"{peer} offline", figures=offline.figures())]
    for point, options in POINTS.items():
        name = f"{peer} {point}"
        context.tell(name)
        series = f"{peer} {options.contexts.kind}{', tentative' * options.tentative}"
        tally = Tally()
        try:
            for recording in offline.recordings:
                events, cpu_seconds = simulate(recognizer, recording, options)
                tally.add(utterances(events), cpu_seconds)
        except NotMeasured as reason:
            rows.append(Row(case=CONTEXTS.name, implementation=name).refused(reason))
            continue
        figures = tally.figures(offline)
        rows.append(Row(case=CONTEXTS.name, implementation=name, figures=figures, series=series))
    return rows


@engine_errors()
def transcribe(recognizer: Recognizer, recordings: list[Recording]) -> Offline:
    """Transcribe whole recordings."""
    jobs = [(Audio(one.samples, SAMPLE_RATE), one.language) for one in recordings]
    recognizer.transcribe(*jobs[0])  # the first run of a graph plans its memory
    begin = time.process_time()
    transcripts = [recognizer.transcribe(*job) for job in jobs]
    return Offline(recordings, transcripts, time.process_time() - begin)
