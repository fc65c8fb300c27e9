"""Results as Markdown, and the tables of documents that are kept equal to result files.

A document holds, on lines of their own, `<!-- mms-bench: FILE.json -->` and
`<!-- mms-bench: end -->`; the text between them is replaced.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mms_bench.errors import BenchError
from mms_bench.peers import is_ours
from mms_bench.report import text
from mms_bench.run.result import QUIET, Case, Machine, Result, Row
from mms_bench.targets import Judgement, judge
from mms_engine.formats.output import open_output

_BLOCK = re.compile(
    r"(?P<begin><!-- mms-bench: (?P<name>[\w.-]+) -->\n).*?(?P<end><!-- mms-bench: end -->)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under a head; the first column is text, the others are figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table with the first column to the left, the others to the right."""
        lines = [self.head, ["---"] + ["---:"] * (len(self.head) - 1), *self.rows]
        escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
        return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


@dataclass(frozen=True, slots=True)
class Section:
    """The tables of one case, or those of the targets."""

    title: str
    tables: Sequence[Table]
    case: Case | None = None
    measured: Sequence[Row] = ()
    """Rows with figures, for a picture."""


def render(result: Result) -> str:
    """Return a whole result as Markdown."""
    parts = [
        f"## Suite `{result.suite}`, {result.created[:10]}",
        "\n".join(f"- {fact}" for fact in facts(result)),
    ]
    timing = ""
    for section in sections(result):
        parts.append(f"### {section.title}")
        if section.case and section.case.timing != timing:  # cases in a row often share it
            timing = section.case.timing
            parts.append(timing)
        parts += (table.markdown() for table in section.tables)
    return "\n\n".join(parts)


def sections(result: Result) -> list[Section]:
    """Return the tables of each case, in the order of the result, and of the targets."""
    found = []
    for case in result.cases:
        rows = [row for row in result.rows if row.case == case.name]
        measured = [row for row in rows if row.is_measured]
        if case.groups:
            places = list(dict.fromkeys(row.series for row in measured))
            measured.sort(key=lambda row: places.index(row.series))
        others = [
            (f"{text.title(row.implementation)} {row.series}".strip(), row.status, row.reason)
            for row in rows
            if not row.is_measured
        ]
        tables = [_figures(case, measured, result)] if measured else []
        if others:
            tables.append(Table(("no figures", "status", "reason"), others))
        found.append(Section(case.title, tables, case, measured))
    judged = [_target(item) for item in judge(result)]
    if judged:
        table = Table(("target", "limit", "measured", "verdict"), judged)
        found.append(Section("Targets", [table]))
    return found


def _figures(case: Case, rows: Sequence[Row], result: Result) -> Table:
    times = [row.summary for row in rows]
    checks = [row.check for row in rows]
    other, _, implementation = case.baseline.rpartition("/")
    baseline = f"{other or case.name}/{implementation}"
    names = [text.title(implementation).split(" (")[0], f"`{other}`" if other else ""]
    best = _best_peer(rows)
    columns = {
        "": [
            f"**{text.title(row.implementation)}**"
            if row is best
            else text.title(row.implementation)
            for row in rows
        ],
        case.groups or "group": [row.series if case.groups else "" for row in rows],
        "median": [text.seconds(it.median) if it else "" for it in times],
        "p10 … p90": [
            f"{text.seconds(it.p10)} … {text.seconds(it.p90)}" if it else "" for it in times
        ],
        "IQR": [text.seconds(it.iqr) if it else "" for it in times],
        "calls": [str(it.count) if it else "" for it in times],
        f"per {case.each}": [text.each(row) if case.each else "" for row in rows],
        f"{case.unit} per second": [text.rate(row) for row in rows],
        f"speed-up over {', '.join(filter(None, names))}": [
            text.times(result.ratio(row, baseline + ("" if implementation else row.implementation)))
            for row in rows
            if case.baseline
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
    return Table(tuple(filled), list(zip(*filled.values(), strict=True)))


def _best_peer(rows: Sequence[Row]) -> Row | None:
    """Return the fastest of several peers beside this project; `None` without a choice."""
    timed = [(row.summary.median, row) for row in rows if row.summary]
    others = [found for found in timed if not is_ours(found[1].implementation)]
    return min(others, key=lambda found: found[0])[1] if 1 < len(others) < len(timed) else None


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
    size = f"{model.parameters / 1e6:,.0f} M parameters, {model.languages} languages"
    settings = "; ".join(f"{name}: {value}" for name, value in result.settings.items())
    return [
        *machine_facts(result.machine, result.versions),
        f"Model: {model.name}, {size}",
        f"Settings: {settings}",
        f"Commit: {result.git or 'unknown'}",
        f"Command: `{result.command}`",
    ]


def machine_facts(machine: Machine, versions: dict[str, str]) -> list[str]:
    """Return machine and software, one sentence each."""
    gpu = machine.gpu if machine.gpu == "none" else f"{machine.gpu}, CUDA {machine.cuda}"
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
    missing = set(blocks) - {match["name"] for match in _BLOCK.finditer(before)}
    if missing:
        name = min(missing)
        raise BenchError(
            f"{document} has no place for {name}: put the lines `<!-- mms-bench: {name} -->` "
            "and `<!-- mms-bench: end -->` where its tables belong"
        )
    with open_output(document) as stream:
        stream.write(updated(before, blocks))


def updated(document: str, blocks: Mapping[str, str]) -> str:
    """Return a document's text with blocks rewritten."""

    def replace(match: re.Match[str]) -> str:
        if match["name"] not in blocks:
            return match[0]
        return f"{match['begin']}\n{blocks[match['name']]}\n\n{match['end']}"

    return _BLOCK.sub(replace, document)
