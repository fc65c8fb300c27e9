"""Clients in real time: how long they wait, and how many streams a machine holds."""

import numpy as np

from mms_bench.errors import Refused, WorkerFailed
from mms_bench.options import Context
from mms_bench.schema import Case, Curve, Figure, Row
from mms_bench.streaming.clients import PIECE_SECONDS, Talk, Waits, make_talks, speak
from mms_bench.streaming.offline import Engine
from mms_bench.suites import entries
from mms_bench.suites.stream.setting import engines, long_recordings, open_engine
from mms_engine.asr.streaming import StreamOptions
from mms_engine.errors import MmsError

DEADLINE = 0.3
"""Seconds after the end of a chunk's audio in which 95 of 100 events must be shown."""
COUNTS = (1, 2, 5, 10, 25, 50, 75, 100, 125, 150, 200)
_AGREED = 0.9
"""Share of events that must be those of a stream alone, else the waits mean nothing."""

CASE = Case(
    name="clients",
    title="Clients that speak in real time",
    timing=(
        "Wall clock. Each client sends "
        f"{1000 * PIECE_SECONDS:g} ms of audio at a time to a pool in the same process, at the "
        "times they would be spoken, whether or not the engine keeps up; latency `balanced`. An "
        "event's wait is from when the last audio that it needed was due to be sent to the event. "
        f"The number of clients grows until the p95 is over {1000 * DEADLINE:g} ms."
    ),
    figures=(
        Figure("streams", "streams", "number"),
        Figure("p50", "wait p50", "seconds"),
        Figure("p95", "wait p95", "seconds"),
        Figure("p99", "wait p99", "seconds"),
        Figure("last_p95", "wait for the last text p95", "seconds"),
        Figure("first_p50", "audio's beginning to first text p50", "seconds"),
        Figure("agreed", "events as of a stream alone", "share"),
    ),
    curves=(Curve("streams", "p95"),),
)


def measure(context: Context) -> list[Row]:
    """Add clients to each engine until they wait too long."""
    rows: list[Row] = []
    for peer in engines(context):
        try:
            rows += _grow(context, peer)
        except Refused as reason:
            rows.append(entries.refusal(CASE.name, peer, reason))
    return rows


def _grow(context: Context, peer: str) -> list[Row]:
    engine, options = open_engine(context, peer), StreamOptions()
    try:
        talks = make_talks(engine, long_recordings(context), context.options.seconds, options)
    except MmsError as error:
        raise WorkerFailed(str(error)) from error
    rows: list[Row] = []
    held: dict[str, float] = {"streams": 0.0}
    for count in COUNTS:
        context.tell(f"{peer}: {count} clients for {context.options.seconds:g} s")
        row = _clients(peer, engine, talks, count)
        rows.append(row)
        if row.status != "ok" or row.figures["p95"] > DEADLINE:
            break
        held = row.figures
    return [*rows, _row(f"{peer} sustained", "", held)]


def _clients(peer: str, engine: Engine, talks: list[Talk], count: int) -> Row:
    name = f"{peer} {count} streams"
    try:
        waits = speak(engine, talks, count, StreamOptions())
        if waits.agreed < _AGREED:
            raise WorkerFailed(f"only {waits.agreed:.1%} of events are those of a stream alone")
    except Refused as reason:
        return entries.refusal(CASE.name, name, reason)
    return _row(name, peer, _figures(count, waits))


def _figures(count: int, waits: Waits) -> dict[str, float]:
    p50, p95, p99 = np.percentile(waits.shown or [0.0], (50, 95, 99)).tolist()
    return {
        "streams": float(count),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "last_p95": float(np.percentile(waits.last or [0.0], 95)),
        "first_p50": float(np.median(waits.first or [0.0])),
        "agreed": waits.agreed,
    }


def _row(name: str, series: str, figures: dict[str, float]) -> Row:
    return Row(case=CASE.name, implementation=name, status="ok", figures=figures, series=series)
