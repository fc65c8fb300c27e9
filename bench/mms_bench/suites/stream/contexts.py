"""Case `contexts`: error rate, delay and compute of each streaming context, in audio time."""

from dataclasses import dataclass
from typing import cast

from mms_bench.errors import Failed, NotMeasured
from mms_bench.peers import is_ours
from mms_bench.peers.engine import load_model
from mms_bench.run.audio import Recording
from mms_bench.run.context import Context
from mms_bench.run.result import Case, Curve, Row, refusal
from mms_bench.suites.stream.engine import (
    Offline,
    long_recordings,
    open_recognizer,
    simulate,
    transcribe,
)
from mms_bench.suites.stream.quality import FIGURES, Tally, offline_figures, utterances
from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.streaming import LATENCIES, ContextOptions, StreamOptions
from mms_engine.errors import MmsError
from mms_engine.types import ContextKind, Precision

CONTEXTS = Case(
    name="contexts",
    title="Error rate, delay and compute of streaming contexts",
    timing=(
        "No clock: audio is fed 20 ms at a time, as if computing took no time. Compute is CPU "
        "seconds of all threads, decoding included. The emission delay of a word is from its end, "
        "by forced alignment to the offline logits, to the first display from which on it stays. "
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


@dataclass(frozen=True, slots=True)
class Corpus:
    """Recordings, and the offline results of a peer."""

    peer: str
    recognizer: Recognizer
    recordings: list[Recording]
    offline: list[Offline]


def measure_contexts(context: Context) -> list[Row]:
    """Measure the contexts of each of our peers."""
    rows: list[Row] = []
    for peer in filter(is_ours, context.options.peers):
        try:
            corpus = _corpus(context, peer)
        except NotMeasured as reason:
            rows.append(refusal(CONTEXTS.name, peer, reason))
            continue
        whole = offline_figures(corpus.recordings, corpus.offline)
        rows.append(Row(case=CONTEXTS.name, implementation=f"{peer} offline", figures=whole))
        rows += [_point(context, corpus, name, options) for name, options in POINTS.items()]
    return rows


def _corpus(context: Context, peer: str) -> Corpus:
    recognizer = open_recognizer(context.setup, peer)
    recordings = long_recordings(context)
    context.tell(f"{peer}: whole recordings")
    model = load_model(context.setup, cast("Precision", peer.removeprefix("ours-")))
    transcribe(recognizer, model, recordings[0])  # the first run of a graph plans its memory
    offline = [transcribe(recognizer, model, recording) for recording in recordings]
    model.close()
    return Corpus(peer, recognizer, recordings, offline)


def _point(context: Context, corpus: Corpus, point: str, options: StreamOptions) -> Row:
    name = f"{corpus.peer} {point}"
    context.tell(name)
    tally = Tally()
    try:
        for recording, offline in zip(corpus.recordings, corpus.offline, strict=True):
            events, cpu_seconds = simulate(corpus.recognizer, recording, options)
            tally.add(utterances(events), cpu_seconds, offline)
    except MmsError as error:
        return refusal(CONTEXTS.name, name, Failed(str(error)))
    except NotMeasured as reason:
        return refusal(CONTEXTS.name, name, reason)
    series = f"{corpus.peer} {options.contexts.kind}{', tentative' * options.tentative}"
    figures = tally.figures(corpus.recordings, corpus.offline)
    return Row(case=CONTEXTS.name, implementation=name, figures=figures, series=series)
