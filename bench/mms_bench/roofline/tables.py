"""The document as Markdown."""

from collections.abc import Iterable
from pathlib import Path

from mms_bench.report import documents, text
from mms_bench.report.content import Table
from mms_bench.report.markdown import table
from mms_bench.roofline.document import Bound, Roofline
from mms_bench.roofline.hardware import Gpu
from mms_bench.roofline.memory_tables import render_memory
from mms_bench.roofline.processor_tables import render_processor
from mms_engine.types import Precision


def render(roofline: Roofline) -> str:
    """Return all of it."""
    parts = [render_gpus(roofline), render_memory(roofline)]
    if roofline.measured:
        parts.append(render_processor(roofline))
    return "\n\n".join(parts)


def update(document: Path, roofline: Roofline, name: str) -> None:
    """Rewrite what a document holds of the file called `name`.

    Raises:
        BenchError: it has no place for any of it.
    """
    before = document.read_text(encoding="utf-8")
    there = {block: found for block, found in blocks(roofline, name).items() if block in before}
    documents.update(document, there or dict.fromkeys([f"{name}#gpus"], ""))


def blocks(roofline: Roofline, name: str) -> dict[str, str]:
    """Return the blocks that documents may hold: GPUs, memory and, if measured, the processor."""
    found = {f"{name}#gpus": render_gpus(roofline), f"{name}#memory": render_memory(roofline)}
    if roofline.measured:
        found[f"{name}#processor"] = render_processor(roofline)
    return found


def render_gpus(roofline: Roofline) -> str:
    """Return the work and the bounds of the GPUs."""
    asked = roofline.question
    batches = ", ".join(map(str, asked.batches))
    work = (
        f"Work of {roofline.model} for a second of audio, in runs of {asked.seconds:g} s; bytes in "
        "fp16:"
    )
    offline = (
        f"Least time of a run of {asked.seconds:g} s of audio in each of {batches} rows, each row "
        "in another language, and the most audio a second. Live: the most streams, each with a run "
        f"over {asked.pace.window:g} s every {asked.pace.chunk:g} s. Bounds from data sheets, "
        "**not measurements**; fp32 without TF32:"
    )
    lengths = (
        "Least time of a single row by its length, in fp16; `(weights)` where it is reading them "
        "that takes it:"
    )
    sheets = "What the bounds rest on (dense rates, float32 sums):"
    parts = (
        (work, _work(roofline)),
        (offline, _bounds(roofline)),
        (lengths, _lengths(roofline)),
        (sheets, _sheets(roofline.gpus)),
    )
    return "\n\n".join(f"{words}\n\n{table(content)}" for words, content in parts)


def _work(roofline: Roofline) -> Table:
    total = sum(stage.flops for stage in roofline.stages)
    head = ("stage", "GFLOP", "share", "M elements between", "MB in and out", "MB of weights")
    rows = [
        (
            stage.stage,
            f"{stage.flops / 1e9:,.2f}",
            f"{stage.flops / total:.1%}",
            f"{stage.elements / 1e6:,.1f}",
            f"{stage.edges / 1e6:,.1f}",
            f"{stage.weights / 1e6:,.1f}",
        )
        for stage in roofline.stages
    ]
    sums = (
        f"{sum(getattr(stage, name) for stage in roofline.stages) / 1e6:,.1f}"
        for name in ("elements", "edges", "weights")
    )
    return Table(head, (*rows, ("all", f"{total / 1e9:,.2f}", "100%", *sums)))


def _bounds(roofline: Roofline) -> Table:
    asked = roofline.question
    head = (
        "GPU",
        "precision",
        *(f"{rows} rows" if rows > 1 else "1 row" for rows in asked.batches),
        *(f"RTFx, {rows}" for rows in asked.batches),
        "limited by",
        "live streams",
    )
    names = {gpu.key: gpu.name for gpu in roofline.gpus}
    rows = []
    for key, precision in _groups(roofline.bounds):
        found = batches_of(roofline, key, precision)
        live = next(s for s in roofline.streams if (s.gpu, s.precision) == (key, precision))
        rows.append(
            (
                names[key],
                precision,
                *(text.seconds(bound.latency) for bound in found),
                *(f"{bound.rtfx:,.0f}" for bound in found),
                ", ".join(dict.fromkeys(bound.limit for bound in found)),
                f"{live.streams:,}",
            )
        )
    return Table(head, tuple(_merge_equal(rows)))


def batches_of(roofline: Roofline, gpu: str, precision: Precision) -> list[Bound]:
    """Return the bounds of the offline runs of a GPU."""
    return [
        bound
        for bound in roofline.bounds
        if (bound.gpu, bound.precision) == (gpu, precision)
        and bound.seconds == roofline.question.seconds
    ]


def lengths_of(roofline: Roofline, gpu: str, precision: Precision) -> list[Bound]:
    """Return the bounds of single rows on a GPU, the shortest first."""
    found = (b for b in roofline.bounds if (b.gpu, b.precision, b.rows) == (gpu, precision, 1))
    return sorted(found, key=lambda bound: bound.seconds)


def _lengths(roofline: Roofline) -> Table:
    shown = [lengths_of(roofline, gpu.key, "fp16") for gpu in roofline.gpus]
    head = ("GPU", *(f"{bound.seconds:g} s" for bound in shown[0]))
    rows = tuple(
        (
            gpu.name,
            *(
                text.seconds(bound.latency) + (" (weights)" if bound.limit == "bandwidth" else "")
                for bound in found
            ),
        )
        for gpu, found in zip(roofline.gpus, shown, strict=True)
    )
    return Table(head, rows)


def _merge_equal(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Put float16 and bfloat16 into one row where nothing sets them apart."""
    merged: list[tuple[str, ...]] = []
    for row in rows:
        if merged and merged[-1][0] == row[0] and merged[-1][2:] == row[2:]:
            merged[-1] = (row[0], f"{merged[-1][1]}, {row[1]}", *row[2:])
        else:
            merged.append(row)
    return merged


def _groups(bounds: Iterable[Bound]) -> list[tuple[str, Precision]]:
    return list(dict.fromkeys((bound.gpu, bound.precision) for bound in bounds))


def _sheets(gpus: Iterable[Gpu]) -> Table:
    head = (
        "GPU",
        "sm",
        "fp16 TFLOP/s",
        "fp32 TFLOP/s",
        "GB/s",
        "GB",
        "L2 MB",
        "bus GB/s",
        "source",
    )
    rows = tuple(
        (
            gpu.name,
            gpu.sm,
            f"{gpu.fp16:g}",
            f"{gpu.fp32:g}",
            f"{gpu.bandwidth:,g}",
            f"{gpu.memory:g}",
            f"{gpu.cache:g}",
            f"{gpu.link:g}" if gpu.link else "shared",
            gpu.source,
        )
        for gpu in gpus
    )
    return Table(head, rows)
