"""Results as Markdown, and the tables of documents that are kept equal to result files.

A document holds, on lines of their own, `<!-- mms-bench: FILE.json -->` and
`<!-- mms-bench: end -->`; the text between them is replaced.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mms_bench.errors import BenchError
from mms_bench.report import text
from mms_bench.run.result import QUIET, Case, Machine, Result, Row
from mms_bench.targets import Judgement, judge

_BLOCK = re.compile(
    r"(?P<begin><!-- mms-bench: (?P<name>[\w.-]+) -->\n).*?(?P<end><!-- mms-bench: end -->)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under a head; the first column is text, the others are figures."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """The tables of one case."""

    case: Case
    measured: tuple[Row, ...]
    tables: tuple[Table, ...]
    """Figures of the measured rows, and the reasons of the others."""


def render(result: Result) -> str:
    """Return a whole result as Markdown."""
    parts = [
        f"## Suite `{result.suite}`, {result.created[:10]}",
        "\n".join(f"- {fact}" for fact in facts(result)),
    ]
    timing = ""
    for section in sections(result):
        parts.append(f"### {section.case.title}")
        if section.case.timing != timing:  # cases in a row often share it
            timing = section.case.timing
            parts.append(timing)
        parts += map(table, section.tables)
    goals = targets(result)
    if goals.rows:
        parts += ["### Targets", table(goals)]
    return "\n\n".join(parts)


def table(content: Table) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    lines = [content.head, ["---"] + ["---:"] * (len(content.head) - 1), *content.rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def sections(result: Result) -> list[Section]:
    """Return the tables of each case, in the order of the result."""
    found = []
    for case in result.cases:
        rows = [row for row in result.rows if row.case == case.name]
        measured = tuple(row for row in rows if row.is_measured)
        others = tuple(
            (text.title(row.implementation), row.status, row.reason)
            for row in rows
            if not row.is_measured
        )
        tables = [_figures(case, measured, result)] if measured else []
        if others:
            tables.append(Table(("no figures", "status", "reason"), others))
        found.append(Section(case, measured, tuple(tables)))
    return found


def _figures(case: Case, rows: tuple[Row, ...], result: Result) -> Table:
    times = [row.summary for row in rows]
    checks = [row.check for row in rows]
    baseline, name = _baseline(case)
    columns = {
        "": [text.title(row.implementation) for row in rows],
        "group": [str(row.group) if rows[-1].group > 1 else "" for row in rows],
        "median": [text.seconds(it.median) if it else "" for it in times],
        "p10 … p90": [
            f"{text.seconds(it.p10)} … {text.seconds(it.p90)}" if it else "" for it in times
        ],
        "IQR": [text.seconds(it.iqr) if it else "" for it in times],
        "calls": [str(it.count) if it else "" for it in times],
        f"per {case.each}": [text.each(row) if case.each else "" for row in rows],
        f"{case.unit} per second": [text.rate(row) for row in rows],
        f"speed-up over {name}": [
            text.times(result.ratio(row, (baseline[0], baseline[1] or row.implementation)))
            for row in rows
        ],
        "load": [text.seconds(row.load_seconds) for row in rows],
        "first call": [text.seconds(row.first_seconds) for row in rows],
        "log-probability": ["" if row.score is None else f"{row.score:,.3f}" for row in rows],
        "peak memory": [text.size(row.peak_memory) for row in rows],
        "largest difference": [f"{it.max_abs_error:.2g}" if it else "" for it in checks],
        "frames agree": [f"{it.argmax_agreement:.2%}" if it else "" for it in checks],
        **{it.title: [text.figure(it, row) for row in rows] for it in case.figures},
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    return Table(tuple(filled), tuple(zip(*filled.values(), strict=True)))


def _baseline(case: Case) -> tuple[tuple[str, str], str]:
    """Return case and implementation of a baseline, and its name; all empty without one."""
    name, _, implementation = case.baseline.rpartition("/")
    words = [text.title(implementation).split(" (")[0]] if implementation else []
    words += [f"`{name}`"] if name else []
    return (name or case.name if case.baseline else "", implementation), ", ".join(words)


def targets(result: Result) -> Table:
    """Return the targets of the measured cases beside the measured values."""
    rows = tuple(_target(item) for item in judge(result))
    return Table(("target", "limit", "measured", "verdict"), rows)


def _target(item: Judgement) -> tuple[str, str, str, str]:
    verdict = item.verdict if not item.reason else f"{item.verdict} ({item.reason})"
    sign = "≥" if item.target.at_least else "≤"
    measured = "" if item.value is None else _quantity(item, item.value)
    return item.target.title, f"{sign} {_quantity(item, item.target.limit)}", measured, verdict


def _quantity(item: Judgement, value: float) -> str:
    quantity = item.target.quantity
    if quantity in ("ratio", "cost"):
        return text.times(value)
    if quantity in ("seconds", "per unit"):
        return text.seconds(value)
    if quantity == "figure":
        return f"{value:.3g}"
    return text.size(value) if quantity == "bytes" else f"{text.large(value)} per second"


def facts(result: Result) -> list[str]:
    """Return the conditions of a run, one sentence each."""
    model = result.model
    settings = "; ".join(f"{name}: {value}" for name, value in result.settings.items())
    return [
        *machine_facts(result.machine, result.versions),
        (
            f"Model: {model.name}, {model.parameters / 1e6:,.0f} M parameters, "
            f"{model.languages} languages"
        ),
        f"Settings: {settings}",
        f"Commit: {result.git or 'unknown'}",
        f"Command: `{result.command}`",
    ]


def machine_facts(machine: Machine, versions: dict[str, str]) -> list[str]:
    """Return machine and software, one sentence each."""
    gpu = machine.gpu if machine.gpu == "none" else f"{machine.gpu}, driver {machine.driver}"
    cores = f"{machine.cores} cores ({machine.threads} threads)"
    features = " ".join(machine.features) or "no vector extensions known"
    busy = ": the machine was not quiet" if machine.load_before > QUIET else ""
    return [
        f"Machine: {machine.cpu}, {cores}, {features}, {text.size(machine.memory)}, GPU: {gpu}",
        f"System: {machine.os}, Python {machine.python}, load before {machine.load_before}{busy}",
        f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
    ]


def update(document: Path, blocks: Mapping[str, str]) -> None:
    """Rewrite the blocks of a document by name; others stay as they are.

    Raises:
        BenchError: the document has no place for one of them.
    """
    before = document.read_text(encoding="utf-8")
    missing = set(blocks) - set(places(before))
    if missing:
        name = min(missing)
        raise BenchError(
            f"{document} has no place for {name}: put the lines `<!-- mms-bench: {name} -->` "
            "and `<!-- mms-bench: end -->` where its tables belong"
        )
    document.write_text(updated(before, blocks), encoding="utf-8")


def places(document: str) -> Iterable[str]:
    """Return the names of a document's blocks."""
    return [match["name"] for match in _BLOCK.finditer(document)]


def updated(document: str, blocks: Mapping[str, str]) -> str:
    """Return a document's text with blocks rewritten."""

    def replace(match: re.Match[str]) -> str:
        if match["name"] not in blocks:
            return match[0]
        return f"{match['begin']}\n{blocks[match['name']]}\n\n{match['end']}"

    return _BLOCK.sub(replace, document)
