"""The curves of a case, side by side, as an SVG picture that needs no fonts."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, PercentFormatter, ScalarFormatter

from mms_bench.report import text
from mms_bench.report.plots import INK, STYLE, to_svg
from mms_bench.schema import Case, Curve, Figure, Row

_COLOURS = ("#868e96", "#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#1971c2")
_APART = (0.12, 0.025)
"""Shares of a panel's width and height that two names are apart at least."""
_WIDE = 20.0
"""Times the smallest value from which on an axis is logarithmic."""


def plot_curves(case: Case, rows: Sequence[Row]) -> bytes:
    """Return an SVG: a panel a curve, a mark a row, a line through the rows of a series.

    Args:
        case: Says which figures make a curve.
        rows: Those of them that have both figures are drawn.
    """
    with mpl.rc_context(STYLE):
        width = 5.2 * max(2, len(case.curves))
        picture = Picture(figsize=(width, 5.0), layout="constrained")
        panels = picture.subplots(1, len(case.curves), squeeze=False)[0]
        first = case.curves[0].x
        series = _series(sorted(rows, key=lambda row: row.figures.get(first, 0.0)))
        for axes, curve in zip(panels, case.curves, strict=True):
            _draw(axes, case, curve, series)
        return to_svg(picture)


def _series(rows: Sequence[Row]) -> dict[str, list[Row]]:
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(row.series or row.implementation, []).append(row)
    return series


def _draw(axes: Axes, case: Case, curve: Curve, series: dict[str, list[Row]]) -> None:
    rows: list[Row] = []
    for number, (name, all_of_it) in enumerate(series.items()):
        own = [row for row in all_of_it if {curve.x, curve.y} <= row.figures.keys()]
        if not own:
            continue
        rows += own
        points = [(row.figures[curve.x], row.figures[curve.y]) for row in own]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=text.title(name))
    _dress(axes, case, curve, rows)
    _name(axes, curve, [row for row in rows if row.implementation != row.series])


def _name(axes: Axes, curve: Curve, rows: Sequence[Row]) -> None:
    """Write names beside marks, but for those that would lie on another name."""
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: len(row.implementation)):
        place = (row.figures[curve.x], row.figures[curve.y])
        across, up = axes.transAxes.inverted().transform(axes.transData.transform(place))
        if all(abs(across - x) > _APART[0] or abs(up - y) > _APART[1] for x, y in taken):
            taken.append((across, up))
            axes.annotate(
                _short(row), place, (4, 4), textcoords="offset points", fontsize=7, color=INK
            )


def _short(row: Row) -> str:
    """Return the end of a row's name: what it differs in from others of its series."""
    return row.implementation.rpartition(" ")[2]


def _dress(axes: Axes, case: Case, curve: Curve, rows: Sequence[Row]) -> None:
    known = {figure.name: figure for figure in case.figures}
    x, y = known[curve.x], known[curve.y]
    axes.set_xlabel(_label(x))
    axes.set_ylabel(_label(y))
    values = [row.figures[x.name] for row in rows]
    if values and 0 < min(values) * _WIDE < max(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
    else:
        axes.set_xlim(left=0)
    if y.kind == "share":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif y.kind == "seconds":
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: text.seconds(value) if value else "0")
        )
        axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e9ecef")
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, frameon=False)


def _label(figure: Figure) -> str:
    return f"{figure.title}, seconds" if figure.kind == "seconds" else figure.title
