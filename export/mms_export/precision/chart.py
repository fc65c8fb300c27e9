"""The picture of surveys: a row a model, its ranges by layer and its agreement by stream."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mms_export.precision.places import KINDS
from mms_export.precision.result import Row, Survey

LARGEST = 65504
"""Of float16."""
_INK = "#212529"
_COLOURS = {
    "stream": "#0b7285",
    "added": "#e8590c",
    "feed-forward": "#2f9e44",
    "scores": "#862e9c",
    "operands": "#868e96",
    "fp16": "#0b7285",
    "bf16": "#2f9e44",
    "fp16 everywhere": "#e8590c",
    "fp16 everywhere, unfused": "#c92a2a",
    "bf16 everywhere": "#868e96",
}
_MARKERS = dict(zip(("fp16", "bf16", *list(_COLOURS)[7:]), "os^vx", strict=True))


def draw(surveys: Sequence[Survey], path: Path) -> None:
    """Write the picture as SVG."""
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "precision", "font.size": 9}):
        figure = Figure(figsize=(11, 3.9 * len(surveys)), layout="constrained")
        axes = figure.subplots(len(surveys), 2, squeeze=False)
        for (left, right), survey in zip(axes, surveys, strict=True):
            _ranges(left, survey)
            _agreement(right, survey)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _ranges(axes: Axes, survey: Survey) -> None:
    for kind in KINDS:
        entries = [entry for entry in survey.ranges if entry.kind == kind]
        layers = [entry.layer for entry in entries]
        peaks = [entry.peak for entry in entries]
        axes.plot(layers, peaks, ".-", color=_COLOURS[kind], label=kind, linewidth=1.2)
    axes.axhline(LARGEST, color=_INK, linestyle="--", linewidth=1)
    axes.annotate("largest float16", (0, LARGEST), (2, 3), textcoords="offset points")
    axes.set_yscale("log")
    axes.set_xlabel("layer")
    axes.set_ylabel("largest magnitude, fp32")
    axes.set_title(f"{survey.model}: {survey.layers} layers, {survey.frames} frames")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=5, frameon=False)
    _plain(axes)


def _agreement(axes: Axes, survey: Survey) -> None:
    names = dict.fromkeys(row.arithmetic for row in survey.sweep if row.arithmetic != "fp32")
    for name in names:
        rows: list[Row] = [row for row in survey.sweep if row.arithmetic == name]
        streams = [row.gain * survey.stream_peak for row in rows]
        shares = [row.agreement for row in rows]
        (line,) = axes.plot(streams, shares, label=name, markersize=4, linewidth=1.2)
        line.set_color(_COLOURS[name])
        line.set_marker(_MARKERS[name])
    axes.axvline(LARGEST, color=_INK, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("largest magnitude in the residual stream, scaled")
    axes.set_ylabel("frames with the token of fp32")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_title("the same function, its stream larger and larger")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3, frameon=False)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
