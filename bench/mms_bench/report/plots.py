"""Plots of a case as SVG pictures that need no fonts."""

import io
import itertools
from collections.abc import Sequence
from dataclasses import replace

from mms_bench.errors import BenchError
from mms_bench.peers import is_ours
from mms_bench.report import text
from mms_bench.run.result import Case, Curve, Figure, Row

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture
    from matplotlib.ticker import EngFormatter, FuncFormatter, PercentFormatter, ScalarFormatter
except ImportError as error:
    raise BenchError("pictures need matplotlib: pip install 'mms-engine[bench]'") from error

# Reproducible files.
mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "mms-bench", "font.size": 10})

COLOURS = ("#868e96", "#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#1971c2")
_INK, _GRID, _OURS, _OTHERS = "#212529", "#e9ecef", "#0b7285", "#adb5bd"
_LOG_RATIO = 50.0
"""Ratio of the largest to the smallest value above which an axis is logarithmic."""
_APART = (0.12, 0.025)
"""Minimal distance of two labels, as shares of a panel's width and height."""


def new_picture(width: float, height: float) -> Picture:
    """Return an empty picture of a size in inches."""
    return Picture(figsize=(width, height), layout="constrained")


def to_svg(picture: Picture) -> bytes:
    """Return a picture as SVG, the same bytes each time."""
    out = io.BytesIO()
    picture.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def draw(case: Case, rows: Sequence[Row]) -> bytes:
    """Return an SVG of the measured rows of a case: its curves, or else a bar chart."""
    if case.bars:
        return _plot_figure(case, rows)
    return _plot_curves(case, rows) if case.curves else _plot_bars(case, rows)


def _plot_figure(case: Case, rows: Sequence[Row]) -> bytes:
    """Draw a group of bars per series, a bar per implementation, with 95 % intervals."""
    figure = next(figure for figure in case.figures if figure.name == case.bars)
    drawn = [row for row in rows if figure.name in row.figures]
    groups = list(dict.fromkeys(row.series for row in drawn))
    names = list(dict.fromkeys(row.implementation for row in drawn))
    height = 0.8 / len(names)
    picture = new_picture(8, 1.2 + 0.24 * len(groups) * (len(names) + 1))
    axes = picture.add_subplot()
    for number, (name, colour) in enumerate(zip(names, itertools.cycle(COLOURS), strict=False)):
        own = [row for row in drawn if row.implementation == name]
        places = [groups.index(row.series) + number * height for row in own]
        values = [row.figures[figure.name] for row in own]
        axes.barh(places, values, 0.9 * height, color=colour, label=text.title(name))
        for place, row in zip(places, own, strict=True):
            ends = [row.figures[f"{figure.name}_{end}"] for end in ("low", "high")]
            axes.plot(ends, [place] * 2, color=_INK, linewidth=1.2)
            label = text.figure(replace(figure, interval=False), row)
            axes.annotate(label, (ends[1], place), (4, -3), textcoords="offset points", fontsize=7)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(groups))], groups)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(f"{figure.title} (shorter is better), with 95 % intervals")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color=_GRID)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return to_svg(picture)


def _plot_bars(case: Case, rows: Sequence[Row]) -> bytes:
    """Draw a bar per row (median) and a line from p10 to p90.

    The axis is the rate of a case with a unit, else seconds.
    """
    picture = new_picture(8, 0.9 + 0.42 * len(rows))
    axes = picture.add_subplot()
    edges = [edge for place, row in enumerate(rows) for edge in _draw_bar(axes, place, row, case)]
    axes.set_yticks(range(len(rows)), [text.title(row.implementation) for row in rows])
    logarithmic = max(edges) > _LOG_RATIO * min(edges)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(min(edges) / 2 if logarithmic else 0, max(edges) * (4 if logarithmic else 1.2))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    what = f"{case.unit} per second (longer" if case.unit else "time (shorter"
    axes.set_xlabel(f"{what} is faster{', log scale' * logarithmic})")
    if not case.unit:
        axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color=_GRID)
    axes.set_axisbelow(True)
    return to_svg(picture)


def _draw_bar(axes: Axes, place: int, row: Row, case: Case) -> tuple[float, float, float]:
    """Draw a row and return its median, p10 and p90 on the axis."""
    if row.summary is None:
        raise ValueError(f"{row.key} has no figures to draw")
    seconds = (row.summary.median, row.summary.p10, row.summary.p90)
    median, low, high = (row.amount / one if case.unit else one for one in seconds)
    ours = is_ours(row.implementation) or row.implementation.startswith("mms ")
    axes.barh(place, median, 0.62, color=_OURS if ours else _OTHERS)
    axes.plot([low, high], [place] * 2, color=_INK, linewidth=1.4)
    label = text.rate(row) if case.unit else text.seconds(row.summary.median)
    end = (max(median, low, high), place)
    axes.annotate(label, end, (6, 0), textcoords="offset points", va="center")
    return median, low, high


def _plot_curves(case: Case, rows: Sequence[Row]) -> bytes:
    """Draw a panel per curve, a mark per row, and a line through each series."""
    picture = new_picture(5.2 * max(2, len(case.curves)), 5.0)
    panels = picture.subplots(1, len(case.curves), squeeze=False)[0]
    known, first = {figure.name: figure for figure in case.figures}, case.curves[0].x
    for axes, curve in zip(panels, case.curves, strict=True):
        drawn = [row for row in rows if {curve.x, curve.y} <= row.figures.keys()]
        series: dict[str, list[Row]] = {}
        for row in sorted(drawn, key=lambda row: row.figures.get(first, 0.0)):
            series.setdefault(row.series or row.implementation, []).append(row)
        for (name, own), colour in zip(series.items(), itertools.cycle(COLOURS), strict=False):
            points = [(row.figures[curve.x], row.figures[curve.y]) for row in own]
            axes.plot(*zip(*points, strict=True), "o-", color=colour, label=text.title(name))
        _set_axes(axes, known[curve.x], known[curve.y], [row.figures[curve.x] for row in drawn])
        _label_points(axes, curve, drawn)
    return to_svg(picture)


def _label_points(axes: Axes, curve: Curve, rows: list[Row]) -> None:
    """Write names beside marks, unless a name is there already."""
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: len(row.implementation)):
        place = (row.figures[curve.x], row.figures[curve.y])
        across, up = axes.transAxes.inverted().transform(axes.transData.transform(place))
        if all(abs(across - x) > _APART[0] or abs(up - y) > _APART[1] for x, y in taken):
            taken.append((across, up))
            name = row.implementation.rpartition(" ")[2]
            axes.annotate(name, place, (4, 4), textcoords="offset points", fontsize=7, color=_INK)


def _set_axes(axes: Axes, x: Figure, y: Figure, values: list[float]) -> None:
    axes.set_xlabel(f"{x.title}, seconds" if x.kind == "seconds" else x.title)
    axes.set_ylabel(f"{y.title}, seconds" if y.kind == "seconds" else y.title)
    if values and 0 < min(values) * _LOG_RATIO < max(values):
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
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, frameon=False)
