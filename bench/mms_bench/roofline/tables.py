"""Table and chart of the bounds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mms_bench.errors import BenchError
from mms_bench.report import text
from mms_bench.report.markdown import Table, table
from mms_bench.roofline.model import Gpu, bound, gpus
from mms_bench.roofline.work import Load, blocks
from mms_engine.audio import SAMPLE_RATE
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.types import Precision
from mms_export.checkpoints.config import parse_config
from mms_export.synthetic import TEMPLATE

_PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16", "fp32")
_LENGTHS = (0.5, 1.0, 2.0, 4.0, 10.0, 30.0)
"""Seconds of audio in runs of one row."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model's name and sizes."""

    name: str
    architecture: Wav2Vec2Ctc

    @classmethod
    def open(cls, bundle: Path | None) -> Self:
        """Read the sizes of a bundle's model, by default of mms-1b-all."""
        if bundle is not None:
            opened = open_bundle(bundle, verify=False)
            return cls(opened.manifest.source.name, opened.model(Wav2Vec2Ctc))
        document = json.loads((TEMPLATE / "config.json").read_text(encoding="utf-8"))
        config = parse_config(document, where="config.json")
        return cls(TEMPLATE.name, config.ctc(normalize=True))

    def run(self, gpu: Gpu, precision: Precision, rows: int, seconds: float) -> dict[str, float]:
        """Return the least seconds of a run by what limits them."""
        geometry = FrameGeometry.of(self.architecture)
        frames = geometry.frames(round(seconds * SAMPLE_RATE))
        load = Load(rows=rows, frames=frames, languages=rows, precision=precision)
        return bound(blocks(self.architecture, load), precision, gpu)


def choose_gpus(keys: str) -> tuple[Gpu, ...]:
    """Return the GPUs of comma-separated keys, or all."""
    return gpus([key.strip() for key in keys.split(",") if key.strip()])


def numbers(words: str) -> list[int]:
    """Return comma-separated positive integers."""
    try:
        found = [int(word) for word in words.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise BenchError(f"--batches takes comma-separated positive integers, not {words!r}")
    return found


def bounds(model: Model, chosen: Sequence[Gpu], seconds: float, batches: list[int]) -> str:
    """Return the bounds of each GPU and precision as Markdown, with an introduction."""
    rows: list[tuple[str, ...]] = []
    for gpu in chosen:
        for precision in _PRECISIONS:
            if gpu.peak(precision) is None:
                continue
            cells = _cells(model, gpu, precision, seconds, batches)
            if rows and rows[-1][0] == gpu.name and rows[-1][2:] == cells:
                rows[-1] = (gpu.name, f"{rows[-1][1]}, {precision}", *cells)
            else:
                rows.append((gpu.name, precision, *cells))
    head = (
        *("GPU", "precision"),
        *(f"{count} rows" if count > 1 else "1 row" for count in batches),
        *(f"RTFx, {batches[-1]}", f"1 row of {_LENGTHS[0]:g} s", "limit"),
    )
    intro = (
        f"Least time of {model.name} for {seconds:g} s of audio per row, each row in another "
        "language; seconds of audio per second in the largest batch; least time of a short run "
        "and what limits it. Bounds from data sheets, **not measurements**; fp32 without TF32:"
    )
    return f"{intro}\n\n{table(Table(head, tuple(rows)))}"


def _cells(
    model: Model, gpu: Gpu, precision: Precision, seconds: float, batches: list[int]
) -> tuple[str, ...]:
    times = [sum(model.run(gpu, precision, count, seconds).values()) for count in batches]
    short = model.run(gpu, precision, 1, _LENGTHS[0])
    return (
        *map(text.seconds, times),
        f"{batches[-1] * seconds / times[-1]:,.0f}",
        *(text.seconds(sum(short.values())), max(short, key=lambda name: short[name])),
    )


def chart(model: Model, chosen: Sequence[Gpu]) -> bytes:
    """Return an SVG of the least latency of one row by its length, in fp16."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        from mms_bench.report.plots import COLOURS, STYLE, to_svg
    except ImportError as error:
        raise BenchError("--chart needs matplotlib: pip install 'mms-engine[bench]'") from error
    with rc_context(STYLE):
        picture = Figure(figsize=(8, 5), layout="constrained")
        axes = picture.add_subplot(xscale="log", yscale="log")
        for number, gpu in enumerate(chosen):
            runs = (model.run(gpu, "fp16", 1, length) for length in _LENGTHS)
            times = [1e3 * sum(run.values()) for run in runs]
            colour, line = COLOURS[number % len(COLOURS)], "o-" if number < len(COLOURS) else "o--"
            axes.plot(_LENGTHS, times, line, color=colour, markersize=4, label=gpu.name)
        axes.set(xlabel="seconds of audio in a run of one row", ylabel="milliseconds, at least")
        axes.set_title(f"{model.name}, fp16: bounds from data sheets, not measurements")
        axes.legend(fontsize=8.5, frameon=False)
        return to_svg(picture)
