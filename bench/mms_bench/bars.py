"""What this project promises, as data. The limits come from the plan, never from a measurement."""

from dataclasses import dataclass
from typing import Literal

from mms_bench.ctc_bars import CTC_BARS
from mms_bench.promise import Bar, Quantity
from mms_bench.schema import Result, Row
from mms_bench.stream_bars import STREAM_BARS

Verdict = Literal["pass", "fail", "not judged"]


_SETTINGS = {"asr": {"clip": "10 s", "threads": "2"}, "export": {}, "stream": {}}
"""Settings a promise for the true size is made under, by suite."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A promise and what was measured."""

    bar: Bar
    verdict: Verdict
    value: float | None
    reason: str = ""
    """Why it is not judged."""


_PLAIN = ("clip", "transformers")
_EXPORT: tuple[tuple[str, Quantity, float], ...] = (
    ("time", "seconds", 180.0),
    ("memory", "bytes", 8e9),
)

BARS = (
    Bar(
        suite="asr",
        title="fp32 against transformers",
        case="clip",
        implementation="ours-fp32",
        baseline=_PLAIN,
        quantity="ratio",
        limit=1.25,
    ),
    Bar(
        suite="asr",
        title="int8 against transformers",
        case="clip",
        implementation="ours-int8",
        baseline=_PLAIN,
        quantity="ratio",
        limit=2.0,
    ),
    *(
        Bar(
            suite="asr",
            title=f"mixed languages against one language, {precision}",
            case="batch-mixed",
            implementation=f"ours-{precision}",
            baseline=("batch-one", f"ours-{precision}"),
            quantity="ratio",
            limit=0.97,
        )
        for precision in ("fp32", "int8")
    ),
    Bar(
        suite="asr",
        title="change of language, from memory",
        case="switch-memory",
        implementation="ours",
        quantity="seconds",
        limit=1e-3,
    ),
    Bar(
        suite="asr",
        title="change of language, from disk",
        case="switch-disk",
        implementation="ours",
        quantity="seconds",
        limit=20e-3,
    ),
    Bar(
        suite="asr",
        title="change of language, from memory, against load_adapter",
        case="switch-memory",
        implementation="ours",
        baseline=("switch-disk", "transformers"),
        quantity="ratio",
        limit=100.0,
    ),
    Bar(
        suite="asr",
        title="mms transcribe, one clip, cold process, demo bundle",
        case="cold",
        implementation="mms transcribe",
        quantity="seconds",
        limit=1.2,
        full_size=False,
    ),
    Bar(
        suite="asr",
        title="mms --help, cold process",
        case="cold",
        implementation="mms --help",
        quantity="seconds",
        limit=0.3,
        full_size=False,
    ),
    *(
        Bar(
            suite="export",
            title=f"graphs in {precision}, {what}",
            case="export-graphs",
            implementation=f"ours-{precision}",
            quantity=quantity,
            limit=limit,
        )
        for precision in ("fp32", "fp16", "bf16", "int8")
        for what, quantity, limit in _EXPORT
    ),
    Bar(
        suite="export",
        title="adapters (1,162 in ten minutes)",
        case="export-adapters",
        implementation="ours",
        quantity="rate",
        limit=1162 / 600,
    ),
    Bar(
        suite="export",
        title="adapters, memory",
        case="export-adapters",
        implementation="ours",
        quantity="bytes",
        limit=4e9,
    ),
    *CTC_BARS,
    *STREAM_BARS,
)


def judge(result: Result) -> list[Judgement]:
    """Hold a result against the promises of its suite, which are all for a CPU."""
    if result.settings.get("device", "cpu") != "cpu":
        return []
    return [_judge(bar, result) for bar in BARS if bar.suite == result.suite]


def _judge(bar: Bar, result: Result) -> Judgement:
    row = result.find(bar.case, bar.implementation)
    if row is None:
        return Judgement(bar, "not judged", None, "not measured")
    if row.status != "ok":
        verdict: Verdict = "fail" if row.status == "failed" else "not judged"
        return Judgement(bar, verdict, None, f"{row.status}: {row.reason}")
    value = _value(bar, row, result)
    if value is None:
        return Judgement(bar, "not judged", None, f"{bar.baseline[1]} gives no figure")
    if bar.full_size and not result.model.full_size:
        return Judgement(bar, "not judged", value, "meant for a model of the true size")
    if bar.full_size and not _SETTINGS[bar.suite].items() <= result.settings.items():
        wanted = ", ".join(f"{name} {value}" for name, value in _SETTINGS[bar.suite].items())
        return Judgement(bar, "not judged", value, f"meant for {wanted}")
    reached = value >= bar.limit if bar.at_least else value <= bar.limit
    return Judgement(bar, "pass" if reached else "fail", value)


def _value(bar: Bar, row: Row, result: Result) -> float | None:
    if bar.figure:
        return row.figures.get(bar.figure)
    if row.summary is None:
        return None
    if bar.quantity == "seconds":
        return row.summary.median
    if bar.quantity == "bytes":
        return None if row.peak_memory is None else float(row.peak_memory)
    if bar.quantity == "rate":
        return row.amount / row.summary.median
    if bar.quantity == "each":
        return row.summary.median / row.amount
    faster = ratio(row, result, bar.baseline)
    return 1 / faster if faster and bar.quantity == "cost" else faster


def ratio(row: Row, result: Result, baseline: tuple[str, str]) -> float | None:
    """Return how many times faster a row is than a baseline measured in the same heat."""
    other = result.find(*baseline, heat=row.heat)
    if other is None or other.summary is None or row.summary is None:
        return None
    return other.summary.median / row.summary.median
