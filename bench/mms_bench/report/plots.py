"""One plot a case, as an SVG picture that needs no fonts."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from mms_bench.report import text
from mms_bench.schema import Case, Row

_OURS = "#0b7285"
_OTHERS = "#adb5bd"
INK = "#212529"
STYLE: Any = {"svg.fonttype": "path", "svg.hashsalt": "mms-bench", "font.size": 10}
"""Settings of matplotlib: the same picture everywhere."""
# From here on bars of ordinary length could not be told apart.
_LOG_FROM = 50.0
_DOTS = 200


def plot(case: Case, rows: Sequence[Row]) -> bytes:
    """Return an SVG: a bar a row (median), a line from p10 to p90, a dot a call (not all of many).

    Args:
        case: Decides the axis: with a unit its rate, else seconds.
        rows: With summaries; they must not be empty.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.9 + 0.42 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for position, row in enumerate(rows):
            _draw(axes, position, row, by_rate=bool(case.unit))
        _dress(axes, case, rows)
        return to_svg(figure)


def to_svg(figure: Figure) -> bytes:
    """Return a picture as SVG, the same bytes each time."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _draw(axes: Axes, position: int, row: Row, *, by_rate: bool) -> None:
    if row.summary is None:
        raise ValueError(f"{row.case}/{row.implementation} has no figures to draw")
    ours = row.implementation.startswith(("ours", "mms"))
    median, *spread = (
        _value(row, seconds, by_rate=by_rate)
        for seconds in (row.summary.median, row.summary.p10, row.summary.p90)
    )
    axes.barh(position, median, 0.62, color=_OURS if ours else _OTHERS, zorder=1)
    axes.plot(sorted(spread), [position] * 2, color=INK, linewidth=1.4, zorder=2)
    thinned = row.samples[:: 1 + len(row.samples) // _DOTS]
    values = [_value(row, seconds, by_rate=by_rate) for seconds in thinned]
    axes.plot(values, [position + 0.2] * len(values), ".", color=INK, alpha=0.35, markersize=4)
    label = text.rate(row) if by_rate else text.seconds(row.summary.median)
    end = max(median, *spread)
    axes.annotate(label, (end, position), (6, 0), textcoords="offset points", va="center")


def _value(row: Row, seconds: float, *, by_rate: bool) -> float:
    return row.amount / seconds if by_rate else seconds


def _dress(axes: Axes, case: Case, rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
    medians = [row.summary.median for row in rows if row.summary is not None]
    if max(medians) > _LOG_FROM * min(medians):
        axes.set_xscale("log")
    scale = ", log scale" if axes.get_xscale() == "log" else ""
    unit = f"{case.unit} a second (longer is faster" if case.unit else "time (shorter is faster"
    axes.set_xlabel(f"{unit}{scale})")
    _limit(axes, case, rows)
    if not case.unit:
        axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#e9ecef", zorder=0)
    axes.set_axisbelow(True)


def _limit(axes: Axes, case: Case, rows: Sequence[Row]) -> None:
    """Leave calls that are far out to the table: they would flatten everything else."""
    edges = [
        _value(row, seconds, by_rate=bool(case.unit))
        for row in rows
        if row.summary is not None
        for seconds in (row.summary.p10, row.summary.p90)
    ]
    if axes.get_xscale() == "log":
        axes.set_xlim(min(edges) / 2, max(edges) * 4)
    else:
        axes.set_xlim(0, max(edges) * 1.2)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _label(row: Row) -> str:
    return text.title(row.implementation) + (f", heat {row.heat}" if row.heat > 1 else "")
