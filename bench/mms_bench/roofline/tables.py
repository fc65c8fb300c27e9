"""Table and chart of the bounds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mms_bench.report import text
from mms_bench.report.markdown import Table
from mms_bench.roofline.model import Gpu, Load, blocks, bound, gpus
from mms_engine.audio import SAMPLE_RATE
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.types import Precision
from mms_export.checkpoints.config import parse_config
from mms_export.checkpoints.documents import read_json
from mms_export.synthetic.wav2vec2 import TEMPLATE

_PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16", "fp32")
_BATCHES, _SECONDS = (1, 8, 32), 10.0
"""Rows of a run, and audio of each."""
_LENGTHS = (0.5, 1.0, 2.0, 4.0, 10.0, 30.0)
"""Seconds of audio in runs of one row."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model's name and sizes."""

    name: str
    sizes: Wav2Vec2Ctc

    @classmethod
    def open(cls, bundle: Path | None) -> Self:
        """Read the sizes of a bundle's model, by default of mms-1b-all."""
        if bundle is not None:
            opened = open_bundle(bundle, verify=False)
            return cls(opened.manifest.source.name, opened.model(Wav2Vec2Ctc))
        config = TEMPLATE / "config.json"
        sizes = parse_config(read_json(config), where=config.name)
        return cls(TEMPLATE.name, sizes)

    def run(self, gpu: Gpu, precision: Precision, rows: int, seconds: float) -> dict[str, float]:
        """Return the least seconds of a run by what limits them."""
        frames = FrameGeometry.of(self.sizes).frames(round(seconds * SAMPLE_RATE))
        itemsize = 4 if precision == "fp32" else 2
        load = Load(rows=rows, frames=frames, languages=rows, itemsize=itemsize)
        return bound(blocks(self.sizes, load), precision, gpu)


def bounds(model: Model) -> str:
    """Return the bounds of each GPU and precision as Markdown, with an introduction."""
    rows: list[tuple[str, ...]] = []
    for gpu in gpus():
        alike: dict[tuple[str, ...], list[str]] = {}
        for precision in _PRECISIONS:
            if gpu.peak(precision) is None:
                continue
            times = [sum(model.run(gpu, precision, n, _SECONDS).values()) for n in _BATCHES]
            rate = f"{_BATCHES[-1] * _SECONDS / times[-1]:,.0f}"
            short = model.run(gpu, precision, 1, _LENGTHS[0])
            least = text.seconds(sum(short.values()))
            limit = max(short, key=lambda name: short[name])
            cells = (*map(text.seconds, times), rate, least, limit)
            alike.setdefault(cells, []).append(precision)
        rows += [(gpu.name, ", ".join(names), *cells) for cells, names in alike.items()]
    counts = [f"{count} rows" if count > 1 else "1 row" for count in _BATCHES]
    last = (f"RTFx, {_BATCHES[-1]}", f"1 row of {_LENGTHS[0]:g} s", "limit")
    intro = (
        f"Least time of {model.name} for {_SECONDS:g} s of audio per row, each row in another "
        "language; seconds of audio per second in the largest batch; least time of a short run "
        "and what limits it. Bounds from data sheets, **not measurements**; fp32 without TF32:"
    )
    return f"{intro}\n\n{Table(('GPU', 'precision', *counts, *last), rows).markdown()}"


def chart(model: Model) -> bytes:
    """Return an SVG of the least latency of one row by its length, in fp16."""
    from mms_bench.report.plots import COLOURS, new_picture, to_svg

    picture = new_picture(8, 5)
    axes = picture.add_subplot(xscale="log", yscale="log")
    for number, gpu in enumerate(gpus()):
        runs = (model.run(gpu, "fp16", 1, length) for length in _LENGTHS)
        times = [1e3 * sum(run.values()) for run in runs]
        colour, line = COLOURS[number % len(COLOURS)], "o-" if number < len(COLOURS) else "o--"
        axes.plot(_LENGTHS, times, line, color=colour, markersize=4, label=gpu.name)
    axes.set(xlabel="seconds of audio in a run of one row", ylabel="milliseconds, at least")
    axes.set_title(f"{model.name}, fp16: bounds from data sheets, not measurements")
    axes.legend(fontsize=8.5, frameon=False)
    return to_svg(picture)
