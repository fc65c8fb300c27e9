"""The document as a picture: the roofs of the GPUs, and the bounds on latency."""

import io

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from mms_bench.roofline.document import Bound, Roofline
from mms_bench.roofline.tables import batches_of, lengths_of
from mms_engine.types import Precision

_INK = "#212529"
_COLOURS = (
    "#868e96",
    "#495057",
    "#74b816",
    "#0ca678",
    "#1098ad",
    "#1c7ed6",
    "#7048e8",
    "#e8590c",
    "#c92a2a",
)
_SHOWN: Precision = "fp16"
_INTENSITIES = (4.0, 4096.0)


def draw(roofline: Roofline) -> bytes:
    """Return an SVG with two panels."""
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "mms-bench", "font.size": 9.5}):
        figure = Figure(figsize=(11.5, 5.2), layout="constrained")
        roofs, latencies = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 1]})
        _draw_roofs(roofs, roofline)
        _draw_latencies(latencies, roofline)
        figure.suptitle(
            f"{roofline.model}, {_SHOWN}: what data sheets allow. Bounds, not measurements",
            color=_INK,
        )
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _colour(roofline: Roofline, key: str) -> str:
    keys = [gpu.key for gpu in roofline.gpus]
    return _COLOURS[keys.index(key) % len(_COLOURS)]


def _marks(roofline: Roofline) -> list[Bound]:
    """Return runs that show where the work lies under the roofs."""
    key = roofline.gpus[0].key
    singles = lengths_of(roofline, key, _SHOWN)
    return [singles[0], singles[len(singles) // 2], batches_of(roofline, key, _SHOWN)[-1]]


def _draw_roofs(axes: Axes, roofline: Roofline) -> None:
    low, high = _INTENSITIES
    for gpu in roofline.gpus:
        colour = _colour(roofline, gpu.key)
        ridge = gpu.fp16 * 1e3 / gpu.bandwidth
        axes.plot(
            [low, ridge, high],
            [low * gpu.bandwidth / 1e3, gpu.fp16, gpu.fp16],
            color=colour,
            linewidth=1.8,
        )
    for bound in _marks(roofline):
        axes.axvline(bound.intensity, color=_INK, linewidth=0.9, linestyle=":")
        rows = "" if bound.rows == 1 else f"{bound.rows} rows of "
        axes.annotate(
            f"{rows}{bound.seconds:g} s",
            (bound.intensity, 0),
            (-3, 6),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            fontsize=8.5,
        )
    _dress(axes, "operations of products for each byte moved", "TFLOP/s within reach")
    axes.set_xlim(low, high)
    axes.set_title("Roofs of the GPUs", fontsize=10)


def _draw_latencies(axes: Axes, roofline: Roofline) -> None:
    for gpu in roofline.gpus:
        found = lengths_of(roofline, gpu.key, _SHOWN)
        axes.plot(
            [bound.seconds for bound in found],
            [bound.latency * 1e3 for bound in found],
            marker="o",
            markersize=4,
            color=_colour(roofline, gpu.key),
            label=gpu.name,
        )
    lengths = [bound.seconds for bound in lengths_of(roofline, roofline.gpus[0].key, _SHOWN)]
    _dress(axes, "seconds of audio in a run of one row", "milliseconds of the run, at least")
    axes.set_xticks(lengths, [f"{length:g}" for length in lengths])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(fontsize=8.5, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title("Latency of one row", fontsize=10)


def _dress(axes: Axes, x: str, y: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e9ecef", zorder=0)
    axes.set_axisbelow(True)
