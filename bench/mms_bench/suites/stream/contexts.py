"""Every way to hear speech live: error rate, delay and compute, beside the whole recording."""

from collections.abc import Callable
from dataclasses import dataclass

from mms_bench.errors import NotHere, Refused
from mms_bench.options import Context
from mms_bench.schema import Case, Curve, Row
from mms_bench.streaming.listen import listen
from mms_bench.streaming.offline import Engine, Offline, transcribe
from mms_bench.streaming.points import POINTS, Point
from mms_bench.streaming.quality import FIGURES, Tally, figures, whole_figures
from mms_bench.streaming.recordings import Recording
from mms_bench.streaming.shown import utterances
from mms_bench.suites import entries
from mms_bench.suites.stream.setting import engines, long_recordings, open_engine
from mms_engine.errors import MmsError
from mms_engine.streaming import StreamOptions

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
    """Recordings, and what the engine makes of each as a whole."""

    recordings: list[Recording]
    offline: list[Offline]


def measure(context: Context) -> list[Row]:
    """Measure the contexts with each engine, then the peers."""
    rows: list[Row] = []
    hall: Hall | None = None
    for peer in engines(context):
        try:
            engine = open_engine(context, peer)
            recordings = long_recordings(context)
            context.tell(f"{peer}: whole recordings")
            transcribe(engine, recordings[0])  # the first run of a graph plans its memory
            own = Hall(recordings, [transcribe(engine, one) for one in recordings])
        except Refused as reason:
            rows.append(entries.refusal(CASE.name, peer, reason))
            continue
        hall = hall or own
        whole = whole_figures(own.recordings, own.offline)
        rows.append(_row(f"{peer} offline", whole))
        rows += [
            _attempt(context, peer, point, lambda p=point: _point(engine, own, p))
            for point in POINTS
        ]
    return rows


def _attempt(
    context: Context, peer: str, point: Point, measure_it: Callable[[], dict[str, float]]
) -> Row:
    name = f"{peer} {point.name}"
    context.tell(name)
    try:
        return _row(name, measure_it(), f"{peer} {point.series}")
    except Refused as reason:
        return entries.refusal(CASE.name, name, reason)


def _row(name: str, found: dict[str, float], series: str = "") -> Row:
    return Row(case=CASE.name, implementation=name, status="ok", figures=found, series=series)


def _point(engine: Engine, hall: Hall, point: Point) -> dict[str, float]:
    options = StreamOptions(context=point.context)
    tally = Tally()
    for recording, offline in zip(hall.recordings, hall.offline, strict=True):
        try:
            heard = listen(engine, recording, options)
        except MmsError as error:
            raise NotHere(str(error)) from error
        tally.add(utterances(heard.events), heard.cpu_seconds, offline)
    return figures(tally, hall.recordings, hall.offline)
