"""What a report says, before it is Markdown or HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from mms_bench.bars import Judgement, judge, ratio
from mms_bench.report import text
from mms_bench.schema import QUIET, Case, Machine, Result, Row


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a head; the first column is text, the others are figures."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class CaseReport:
    """All that is said of one case."""

    case: Case
    measured: tuple[Row, ...]
    figures: Table | None
    """Of the rows that have any."""
    left_out: Table | None
    """Of the others, with the reason of each."""


def case_reports(result: Result) -> list[CaseReport]:
    """Return what is said of each case, in the order of the result."""
    return [_case_report(case, result) for case in result.cases]


def _case_report(case: Case, result: Result) -> CaseReport:
    rows = [row for row in result.rows if row.case == case.name]
    measured = tuple(row for row in rows if row.is_measured)
    others = tuple(
        (text.title(row.implementation), row.status, row.reason)
        for row in rows
        if not row.is_measured
    )
    return CaseReport(
        case=case,
        measured=measured,
        figures=_figures(case, measured, result) if measured else None,
        left_out=Table(("no figure", "status", "reason"), others) if others else None,
    )


def _figures(case: Case, rows: Sequence[Row], result: Result) -> Table:
    times = [row.summary for row in rows]
    checks = [row.check for row in rows]
    columns = {
        "": [text.title(row.implementation) for row in rows],
        "heat": [str(row.heat) if rows[-1].heat > 1 else "" for row in rows],
        "median": [text.seconds(it.median) if it else "" for it in times],
        "p10 … p90": [
            f"{text.seconds(it.p10)} … {text.seconds(it.p90)}" if it else "" for it in times
        ],
        "IQR": [text.seconds(it.iqr) if it else "" for it in times],
        "calls": [str(it.count) if it else "" for it in times],
        f"a {case.each}": [text.each(row) if case.each else "" for row in rows],
        f"{case.unit} a second": [text.rate(row) for row in rows],
        f"speed-up over {baseline_title(case)}": [_speed_up(case, row, result) for row in rows],
        "load": [_optional(row.load_seconds) for row in rows],
        "first call": [_optional(row.first_seconds) for row in rows],
        "log-probability": [text.nats(row.score) for row in rows],
        "peak memory": [text.gigabytes(row.peak_memory) for row in rows],
        "largest difference": [f"{it.max_abs_error:.2g}" if it else "" for it in checks],
        "frames agree": [f"{it.argmax_agreement:.2%}" if it else "" for it in checks],
        **{it.title: [text.figure(it, row) for row in rows] for it in case.figures},
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    return Table(tuple(filled), tuple(zip(*filled.values(), strict=True)))


def _optional(value: float | None) -> str:
    return "" if value is None else text.seconds(value)


def baseline_title(case: Case) -> str:
    """Return what the ratios of a case are taken to, in words; empty if there are none."""
    name, _, implementation = case.baseline.rpartition("/")
    if not implementation:
        return f"`{name}`" if name else ""
    return text.title(implementation).split(" (")[0] + (f", `{name}`" if name else "")


def _speed_up(case: Case, row: Row, result: Result) -> str:
    if not case.baseline:
        return ""
    name, _, implementation = case.baseline.rpartition("/")
    baseline = (name or case.name, implementation or row.implementation)
    return text.times(ratio(row, result, baseline))


def promises(result: Result) -> Table:
    """Return the promises of the suite with what was measured."""
    rows = tuple(_promise(item) for item in judge(result))
    return Table(("promise", "limit", "measured", "verdict"), rows)


def _promise(item: Judgement) -> tuple[str, str, str, str]:
    verdict = item.verdict if not item.reason else f"{item.verdict} ({item.reason})"
    sign = "≥" if item.bar.at_least else "≤"
    measured = "" if item.value is None else _quantity(item, item.value)
    return item.bar.title, f"{sign} {_quantity(item, item.bar.limit)}", measured, verdict


def _quantity(item: Judgement, value: float) -> str:
    if item.bar.quantity in ("ratio", "cost"):
        return text.times(value)
    if item.bar.quantity in ("seconds", "each"):
        return text.seconds(value)
    if item.bar.quantity in ("figure", "count"):
        return f"{value:.3g}"
    if item.bar.quantity == "bytes":
        return text.gigabytes(round(value))
    return f"{text.large(value)} a second"


def facts(result: Result) -> list[str]:
    """Return what was run, on what and how, one sentence each."""
    settings = "; ".join(f"{name}: {value}" for name, value in result.settings.items())
    return [
        *machine_facts(result.machine, result.versions),
        f"Model: {text.model(result)}",
        f"Settings: {settings}",
        f"Commit: {result.git or 'unknown'}",
        f"Command: `{result.command}`",
    ]


def machine_facts(machine: Machine, versions: dict[str, str]) -> list[str]:
    """Return the machine and the software, one sentence each."""
    gpu = machine.gpu if machine.gpu == "none" else f"{machine.gpu}, driver {machine.driver}"
    cores = f"{machine.cores} cores ({machine.threads} threads)"
    features = " ".join(machine.features) or "no vector extensions known"
    memory = text.gigabytes(machine.memory)
    busy = ": the machine was not quiet" if machine.load_before > QUIET else ""
    return [
        f"Machine: {machine.cpu}, {cores}, {features}, {memory}, GPU: {gpu}",
        f"System: {machine.os}, Python {machine.python}, load before {machine.load_before}{busy}",
        f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
    ]
