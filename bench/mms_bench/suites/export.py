"""Suite `export`: seconds and memory of each precision's graphs, and adapters per second."""

import functools
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mms_bench.errors import NotMeasured, Skipped
from mms_bench.peers import is_ours
from mms_bench.peers.base import versions
from mms_bench.peers.onnx import EXPORTS
from mms_bench.run import commands
from mms_bench.run.context import Context
from mms_bench.run.race import Pace, repeat_call
from mms_bench.run.result import Case, Row
from mms_bench.run.suite import Part, Suite
from mms_engine.types import PRECISIONS

PLAIN = "torch.onnx"
GRAPHS = Case(
    name="export-graphs",
    title="Graphs of one precision, with one language",
    timing=(
        "Timed: the whole process. mms-export includes the parity check of what it wrote; "
        f"{PLAIN} writes transformers' model with the language baked in, in float32, and checks "
        "nothing."
    ),
    baseline=PLAIN,
)
ADAPTERS = Case(
    name="export-adapters",
    title="Adapters added to a bundle that has its graphs",
    timing="Timed: the whole process. The graphs were exported before.",
    unit="languages",
)


def measure_graphs(context: Context) -> list[Row]:
    """Race one export per precision and the plain export."""
    language = context.options.languages[0]
    module = (sys.executable, "-m", "mms_bench.peers.onnx")
    named: dict[str, tuple[str, ...]] = {
        PLAIN: (*module, str(context.options.checkpoint), language)
    }
    named |= {
        name: _export_command(context, [language], name.removeprefix("ours-"))
        for name in context.options.peers
        if is_ours(name)
    }
    rows: list[Row] = []
    try:
        context.versions.update(versions(*EXPORTS))
    except NotMeasured as reason:
        del named[PLAIN]
        rows.append(Row(case=GRAPHS.name, implementation=PLAIN).refused(reason))
    return _race(context, GRAPHS, named) + rows


def measure_adapters(context: Context) -> list[Row]:
    """Export the graphs and one language, then time the other languages."""
    first, *others = context.options.languages
    prepared = context.folder / "prepared"
    try:
        if not others:
            raise Skipped("needs two languages: name more with --languages")
        context.tell("ours: exporting the graphs")
        command = (*_export_command(context, [first], "fp32"), str(prepared))
        commands.run(command, threads=context.options.threads, watch=False)
    except NotMeasured as reason:
        return [Row(case=ADAPTERS.name, implementation="ours").refused(reason)]
    command = _export_command(context, others, "fp32")
    rows = _race(context, ADAPTERS, {"ours": command}, copy_of=prepared)
    return [replace(row, amount=len(others)) for row in rows]


def _race(
    context: Context, case: Case, named: dict[str, tuple[str, ...]], copy_of: Path | None = None
) -> list[Row]:
    """Time commands by name, which write to a fresh folder each time.

    Args:
        context: Surroundings.
        case: Description.
        named: Command lines without the output folder, which comes last.
        copy_of: Folder that each run starts from a copy of (hard links).
    """
    peaks = dict.fromkeys(named, 0)

    def once(name: str) -> float:
        folder = context.folder / name
        if copy_of is not None:
            shutil.copytree(copy_of, folder, copy_function=os.link)
        command = (*named[name], str(folder))
        try:
            outcome = commands.run(command, threads=context.options.threads, watch=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        peaks[name] = max(peaks[name], outcome.peak_memory)
        return outcome.seconds

    row = Row(case=case.name, implementation="")
    timed = [
        (replace(row, implementation=name), repeat_call(functools.partial(once, name)))
        for name in named
    ]
    return [replace(row, peak_memory=peaks[row.implementation]) for row in context.race(timed)]


def _export_command(context: Context, languages: Sequence[str], precision: str) -> tuple[str, ...]:
    model = ("--model", str(context.options.checkpoint), "--lang", ",".join(languages))
    return (commands.script("mms-export"), *model, "--precision", precision, "--out")


SUITE = Suite(
    name="export",
    peers=(PLAIN, *(f"ours-{precision}" for precision in PRECISIONS)),
    parts=(
        Part("graphs", (GRAPHS,), measure_graphs),
        Part("adapters", (ADAPTERS,), measure_adapters),
    ),
    pace=Pace(warmup=0.0, min_samples=1),
    languages=None,
)
