"""Exporting: seconds and memory of each precision's graphs, and adapters a second."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mms_bench import commands
from mms_bench.errors import NotHere, Refused
from mms_bench.options import Context
from mms_bench.peers.installed import versions
from mms_bench.peers.onnx import EXPORTS
from mms_bench.race import Lap, race
from mms_bench.schema import Case, Row
from mms_bench.statistics import summarise
from mms_bench.suites import Part, Suite, entries
from mms_engine.types import PRECISIONS

PLAIN = "torch.onnx"
GRAPHS = Case(
    name="export-graphs",
    title="Graphs of one precision, with one language",
    timing=(
        "Timed: the whole process, from its start to its end. Ours checks the parity of what it "
        f"wrote in that time; {PLAIN} writes transformers' model with the language baked in, "
        "in float32, and checks nothing."
    ),
    baseline=PLAIN,
)
_GRAPHS_OF_ADAPTERS = "fp32"
ADAPTERS = Case(
    name="export-adapters",
    title="Adapters added to a bundle that has its graphs",
    timing="Timed: the whole process, from its start to its end. The graphs were there before.",
    unit="languages",
)


@dataclass(slots=True)
class Export:
    """A command that writes into a fresh folder, as a runner of the race."""

    name: str
    command: Callable[[Path], Sequence[str]]
    context: Context
    begin_from: Path | None = None
    """A folder that each run begins with a copy of (hard links)."""
    peak_memory: int = 0
    """Bytes, of all runs so far."""
    ran: float = 0.0
    """Nothing is kept warm from one process to the next."""

    def repeat(self, seconds: float, most: int) -> tuple[float, ...]:
        """Run it until `seconds` have passed, at least once; what it writes is thrown away."""
        taken: list[float] = []
        while not taken or (sum(taken) < seconds and len(taken) < most):
            taken.append(self._once())
        return tuple(taken)

    def _once(self) -> float:
        folder = self.context.folder / self.name.replace("/", "-")
        if self.begin_from is not None:
            shutil.copytree(self.begin_from, folder, copy_function=os.link)
        threads = self.context.options.threads
        try:
            outcome = commands.run(self.command(folder), threads=threads, watch=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.peak_memory = max(self.peak_memory, outcome.peak_memory)
        return outcome.seconds


def measure_graphs(context: Context) -> list[Row]:
    """Race one export a precision and the plain export."""
    rows, racing = [], []
    for name in context.options.peers:
        try:
            racing.append(_graph_export(context, name))
        except Refused as reason:
            rows.append(entries.refusal(GRAPHS.name, name, reason))
    laps = race(racing, context.options.pace, context.tell)
    return [_row(GRAPHS, export, laps[export.name]) for export in racing] + rows


def _graph_export(context: Context, name: str) -> Export:
    if name == PLAIN:
        context.versions.update(versions(*EXPORTS))
        return Export(name, lambda out: _plain_command(context, out), context)
    command = _ours_command(context, context.setup.languages[:1], name.removeprefix("ours-"))
    return Export(name, lambda out: (*command, "--out", str(out)), context)


def measure_adapters(context: Context) -> list[Row]:
    """Export the graphs and one language, then time the other languages."""
    name = "ours"
    try:
        first, *others = context.setup.languages
        if not others:
            raise NotHere("needs two languages: name more with --languages")
        prepared = _prepare(context, first)
        command = _ours_command(context, tuple(others), _GRAPHS_OF_ADAPTERS)
        export = Export(
            name, lambda out: (*command, "--out", str(out)), context, begin_from=prepared
        )
    except Refused as reason:
        return [entries.refusal(ADAPTERS.name, name, reason)]
    lap = race([export], context.options.pace, context.tell)[name]
    return [replace(_row(ADAPTERS, export, lap), amount=len(others))]


def _prepare(context: Context, language: str) -> Path:
    context.tell("ours: exporting the graphs")
    out = context.folder / "prepared"
    command = (*_ours_command(context, (language,), _GRAPHS_OF_ADAPTERS), "--out", str(out))
    commands.run(command, threads=context.options.threads, watch=False)
    return out


def _ours_command(context: Context, languages: tuple[str, ...], precision: str) -> tuple[str, ...]:
    return (
        *commands.script("mms-export"),
        *("--model", str(context.options.checkpoint)),
        *("--lang", ",".join(languages)),
        *("--precision", precision),
    )


def _plain_command(context: Context, out: Path) -> tuple[str, ...]:
    module = (sys.executable, "-m", "mms_bench.plain_export")
    return (*module, str(context.options.checkpoint), context.setup.languages[0], str(out))


def _row(case: Case, export: Export, lap: Lap) -> Row:
    if lap.failure is not None:
        return entries.refusal(case.name, export.name, lap.failure)
    return Row(
        case=case.name,
        implementation=export.name,
        status="ok",
        samples=tuple(lap.samples),
        summary=summarise(lap.samples),
        peak_memory=export.peak_memory,
    )


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
