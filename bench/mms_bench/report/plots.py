"""Plots of a case as SVG pictures that need no fonts."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import EngFormatter, FuncFormatter, PercentFormatter, ScalarFormatter

from mms_bench.peers import is_ours
from mms_bench.report import text
from mms_bench.run.result import Case, Curve, Figure, Row

INK, GRID = "#212529", "#e9ecef"
STYLE: Any = {"svg.fonttype": "path", "svg.hashsalt": "mms-bench", "font.size": 10}
"""Settings of matplotlib for reproducible files."""
COLOURS = ("#868e96", "#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#1971c2")
_OURS, _OTHERS = "#0b7285", "#adb5bd"
_BARS_LOG_RATIO, _CURVE_LOG_RATIO = 50.0, 20.0
"""Ratio of the largest to the smallest value above which an axis is logarithmic."""
_DOTS = 200
_APART = (0.12, 0.025)
"""Minimal distance of two labels, as shares of a panel's width and height."""


def to_svg(picture: Picture) -> bytes:
    """Return a picture as SVG, the same bytes each time."""
    out = io.BytesIO()
    picture.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def plot_bars(case: Case, rows: Sequence[Row]) -> bytes:
    """Return an SVG with a bar per row (median), a line from p10 to p90, and a dot per call.

    The axis is the rate of a case with a unit, else seconds. Dots of many calls are thinned.
    """
    with mpl.rc_context(STYLE):
        picture = Picture(figsize=(8, 0.9 + 0.42 * len(rows)), layout="constrained")
        axes = picture.add_subplot()
        edges = [_draw_bar(axes, place, row, case) for place, row in enumerate(rows)]
        names = [
            text.title(row.implementation) + (f", group {row.group}" if row.group > 1 else "")
            for row in rows
        ]
        axes.set_yticks(range(len(rows)), names)
        low, high = min(map(min, edges)), max(map(max, edges))
        logarithmic = high > _BARS_LOG_RATIO * low
        # Calls that are far out are left to the table: they would flatten all others.
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xlim(low / 2, high * 4)
        else:
            axes.set_xlim(0, high * 1.2)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        what = f"{case.unit} per second (longer" if case.unit else "time (shorter"
        axes.set_xlabel(f"{what} is faster{', log scale' * logarithmic})")
        if not case.unit:
            axes.xaxis.set_major_formatter(EngFormatter("s"))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
        axes.grid(axis="x", color=GRID, zorder=0)
        axes.set_axisbelow(True)
        return to_svg(picture)


def _draw_bar(axes: Axes, place: int, row: Row, case: Case) -> tuple[float, float]:
    """Draw a row and return its p10 and p90 on the axis."""
    if row.summary is None:
        raise ValueError(f"{row.case}/{row.implementation} has no figures to draw")

    def value(seconds: float) -> float:
        return row.amount / seconds if case.unit else seconds

    ours = is_ours(row.implementation) or row.implementation.startswith("mms ")
    median, low, high = map(value, (row.summary.median, row.summary.p10, row.summary.p90))
    axes.barh(place, median, 0.62, color=_OURS if ours else _OTHERS, zorder=1)
    axes.plot(sorted((low, high)), [place] * 2, color=INK, linewidth=1.4, zorder=2)
    dots = [value(seconds) for seconds in row.samples[:: 1 + len(row.samples) // _DOTS]]
    axes.plot(dots, [place + 0.2] * len(dots), ".", color=INK, alpha=0.35, markersize=4)
    label = text.rate(row) if case.unit else text.seconds(row.summary.median)
    end = max(median, low, high)
    axes.annotate(label, (end, place), (6, 0), textcoords="offset points", va="center")
    return low, high


def plot_curves(case: Case, rows: Sequence[Row]) -> bytes:
    """Return an SVG with a panel per curve, a mark per row, and a line through each series."""
    with mpl.rc_context(STYLE):
        width = 5.2 * max(2, len(case.curves))
        picture = Picture(figsize=(width, 5.0), layout="constrained")
        panels = picture.subplots(1, len(case.curves), squeeze=False)[0]
        for axes, curve in zip(panels, case.curves, strict=True):
            own = [row for row in rows if {curve.x, curve.y} <= row.figures.keys()]
            _draw_curve(axes, case, curve, own)
        return to_svg(picture)


def _draw_curve(axes: Axes, case: Case, curve: Curve, rows: list[Row]) -> None:
    first = case.curves[0].x
    series: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.figures.get(first, 0.0)):
        series.setdefault(row.series or row.implementation, []).append(row)
    for number, (name, own) in enumerate(series.items()):
        points = [(row.figures[curve.x], row.figures[curve.y]) for row in own]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=text.title(name))
    known = {figure.name: figure for figure in case.figures}
    _set_axes(axes, known[curve.x], known[curve.y], [row.figures[curve.x] for row in rows])
    _label_points(axes, curve, rows)


def _label_points(axes: Axes, curve: Curve, rows: list[Row]) -> None:
    """Write names beside marks, unless a name is there already."""
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: len(row.implementation)):
        place = (row.figures[curve.x], row.figures[curve.y])
        across, up = axes.transAxes.inverted().transform(axes.transData.transform(place))
        if all(abs(across - x) > _APART[0] or abs(up - y) > _APART[1] for x, y in taken):
            taken.append((across, up))
            name = row.implementation.rpartition(" ")[2]
            axes.annotate(name, place, (4, 4), textcoords="offset points", fontsize=7, color=INK)


def _set_axes(axes: Axes, x: Figure, y: Figure, values: list[float]) -> None:
    axes.set_xlabel(f"{x.title}, seconds" if x.kind == "seconds" else x.title)
    axes.set_ylabel(f"{y.title}, seconds" if y.kind == "seconds" else y.title)
    if values and 0 < min(values) * _CURVE_LOG_RATIO < max(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
    else:
        axes.set_xlim(left=0)
    if y.kind == "share":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif y.kind == "seconds":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text.seconds(value)))
        axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, frameon=False)
