"""Every way to hear speech live: error rate, delay and compute, beside the whole recording."""

from dataclasses import dataclass

from mms_bench.errors import NotHere, Refused, WorkerFailed
from mms_bench.options import Context
from mms_bench.peers import sherpa
from mms_bench.peers.chunked import CHUNKS, ChunkedPipeline, Chunks
from mms_bench.schema import Case, Curve, Row
from mms_bench.streaming.listen import listen
from mms_bench.streaming.offline import Engine, Offline, transcribe
from mms_bench.streaming.points import POINTS, Point
from mms_bench.streaming.quality import FIGURES, Tally, figures, whole_figures
from mms_bench.streaming.recordings import Recording
from mms_bench.streaming.shown import utterances
from mms_bench.suites import entries
from mms_bench.suites.stream.setting import engines, long_recordings, open_engine
from mms_engine.asr.streaming import StreamOptions
from mms_engine.errors import MmsError

CASE = Case(
    name="contexts",
    title="What is heard of each piece of audio, and what comes of it",
    timing=(
        "No clock: audio is fed 20 ms at a time, and computing counts as if it took no time; what "
        "it takes is the CPU seconds, of all threads, decoding included. A word's emission delay "
        "is from its end, by forced alignment to the offline logits, to the first text from which "
        "on it stands. `cached 5/0.64/0.32`: left context, chunk and right context in seconds."
    ),
    figures=FIGURES,
    curves=(Curve("delay_p50", "cer"), Curve("compute", "cer")),
)


@dataclass(frozen=True, slots=True)
class Hall:
    """Recordings, and what an engine makes of each as a whole."""

    peer: str
    engine: Engine
    recordings: list[Recording]
    offline: list[Offline]


def measure(context: Context) -> list[Row]:
    """Measure the contexts with each engine, then the peers beside the first."""
    rows: list[Row] = []
    halls: list[Hall] = []
    for peer in engines(context):
        try:
            hall = _open(context, peer)
        except Refused as reason:
            rows.append(entries.refusal(CASE.name, peer, reason))
            continue
        halls.append(hall)
        whole = whole_figures(hall.recordings, hall.offline)
        rows.append(
            Row(case=CASE.name, implementation=f"{peer} offline", status="ok", figures=whole)
        )
        rows += [_point(context, hall, point) for point in POINTS]
    return rows + _peers(context, halls)


def _open(context: Context, peer: str) -> Hall:
    engine = open_engine(context, peer)
    recordings = long_recordings(context)
    context.tell(f"{peer}: whole recordings")
    transcribe(engine, recordings[0])  # the first run of a graph plans its memory
    return Hall(peer, engine, recordings, [transcribe(engine, one) for one in recordings])


def _point(context: Context, hall: Hall, point: Point) -> Row:
    name = f"{hall.peer} {point.name}"
    context.tell(name)
    options, tally = StreamOptions(context=point.context, tentative=point.tentative), Tally()
    try:
        for recording, offline in zip(hall.recordings, hall.offline, strict=True):
            heard = listen(hall.engine, recording, options)
            tally.add(utterances(heard.events), heard.cpu_seconds, offline)
    except MmsError as error:
        return entries.refusal(CASE.name, name, WorkerFailed(str(error)))
    except Refused as reason:
        return entries.refusal(CASE.name, name, reason)
    return _row(name, f"{hall.peer} {point.series}", figures(tally, hall.recordings, hall.offline))


def _row(name: str, series: str, found: dict[str, float]) -> Row:
    return Row(case=CASE.name, implementation=name, status="ok", figures=found, series=series)


def _peers(context: Context, halls: list[Hall]) -> list[Row]:
    """Return the rows of other projects, on the recordings and alignments of the first engine."""
    rows: list[Row] = []
    wanted = context.options.peers
    if "transformers" in wanted:
        rows += [_chunked(context, halls, chunks) for chunks in CHUNKS]
    if "sherpa-onnx" in wanted:
        reason = NotHere(sherpa.why_not(context.setup.bundle, context.folder / "tokens.txt"))
        rows.append(entries.refusal(CASE.name, "sherpa-onnx", reason))
    return rows


def _chunked(context: Context, halls: list[Hall], chunks: Chunks) -> Row:
    name = f"transformers {chunks.name}"
    context.tell(name)
    try:
        if not halls:
            raise NotHere("no engine of ours ran, whose logits say when words were said")
        hall, tally = halls[0], Tally()
        pipeline = ChunkedPipeline(context.setup, chunks)
        context.versions.update(pipeline.versions)
        for recording, offline in zip(hall.recordings, hall.offline, strict=True):
            shown, cpu_seconds = pipeline.hear(recording)
            tally.add(shown, cpu_seconds, offline)
    except Refused as reason:
        return entries.refusal(CASE.name, name, reason)
    return _row(name, "transformers", figures(tally, hall.recordings, hall.offline))
