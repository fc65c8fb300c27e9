"""Suite `export`: seconds and memory of each precision's graphs, and adapters per second."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mms_bench.errors import NotMeasured, Skipped
from mms_bench.peers.base import versions
from mms_bench.peers.onnx import EXPORTS
from mms_bench.run import commands
from mms_bench.run.context import Context, timed_row
from mms_bench.run.race import Runner, race, repeat_call
from mms_bench.run.result import Case, Row, refusal
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


@dataclass(slots=True)
class Export:
    """A command that writes to a fresh folder, and its peak memory over all runs."""

    context: Context
    name: str
    command: Sequence[str]
    """Command line without the output folder, which comes last."""
    copy_of: Path | None = None
    """Folder that each run starts from a copy of (hard links)."""
    peak_memory: int = 0

    def once(self) -> float:
        """Run the command, discard its output and return its seconds."""
        folder = self.context.folder / self.name
        if self.copy_of is not None:
            shutil.copytree(self.copy_of, folder, copy_function=os.link)
        threads = self.context.setup.threads
        try:
            outcome = commands.run((*self.command, str(folder)), threads=threads, watch=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.peak_memory = max(self.peak_memory, outcome.peak_memory)
        return outcome.seconds


def measure_graphs(context: Context) -> list[Row]:
    """Race one export per precision and the plain export."""
    rows: list[Row] = []
    exports = []
    language = context.setup.languages[0]
    for name in context.options.peers:
        try:
            if name == PLAIN:
                context.versions.update(versions(*EXPORTS))
                command = _plain_command(context, language)
            else:
                command = _export_command(context, [language], name.removeprefix("ours-"))
            exports.append(Export(context, name, command))
        except NotMeasured as reason:
            rows.append(refusal(GRAPHS.name, name, reason))
    return _race(context, GRAPHS, exports) + rows


def measure_adapters(context: Context) -> list[Row]:
    """Export the graphs and one language, then time the other languages."""
    first, *others = context.setup.languages
    prepared = context.folder / "prepared"
    try:
        if not others:
            raise Skipped("needs two languages: name more with --languages")
        context.tell("ours: exporting the graphs")
        command = (*_export_command(context, [first], "fp32"), str(prepared))
        commands.run(command, threads=context.setup.threads, watch=False)
    except NotMeasured as reason:
        return [refusal(ADAPTERS.name, "ours", reason)]
    export = Export(context, "ours", _export_command(context, others, "fp32"), copy_of=prepared)
    rows = _race(context, ADAPTERS, [export])
    return [replace(row, amount=len(others)) for row in rows]


def _race(context: Context, case: Case, exports: list[Export]) -> list[Row]:
    runners = [Runner(export.name, repeat_call(export.once)) for export in exports]
    samples = race(runners, context.options.pace, context.tell)
    rows = []
    for export in exports:
        row = Row(case=case.name, implementation=export.name, peak_memory=export.peak_memory)
        rows.append(timed_row(row, samples[export.name]))
    return rows


def _export_command(context: Context, languages: Sequence[str], precision: str) -> tuple[str, ...]:
    model = ("--model", str(context.setup.checkpoint), "--lang", ",".join(languages))
    return (commands.script("mms-export"), *model, "--precision", precision, "--out")


def _plain_command(context: Context, language: str) -> tuple[str, ...]:
    module = (sys.executable, "-m", "mms_bench.peers.onnx")
    return (*module, str(context.setup.checkpoint), language)


SUITE = Suite(
    name="export",
    peers=(PLAIN, *(f"ours-{precision}" for precision in PRECISIONS)),
    parts=(
        Part("graphs", (GRAPHS,), measure_graphs),
        Part("adapters", (ADAPTERS,), measure_adapters),
    ),
    min_samples=1,
    warmup=0.0,
    languages=None,
    settings=("threads", "languages", "pace"),
)
