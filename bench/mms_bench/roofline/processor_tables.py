"""What was measured on this processor, as Markdown."""

from mms_bench.report import text
from mms_bench.report.content import Table, machine_facts
from mms_bench.report.markdown import table
from mms_bench.roofline.document import Roofline
from mms_bench.roofline.processor import Comparison, Measured


def render_processor(roofline: Roofline) -> str:
    """Return the rates of the processor that was measured, and the model's error on it."""
    parts = []
    if roofline.machine is not None:
        facts = machine_facts(roofline.machine, {})[:2]
        parts.append("\n".join(f"- {fact}" for fact in facts))
    parts += [table(_rates(roofline.measured)), table(_comparisons(roofline.measured))]
    return "\n\n".join(parts)


def _rates(measured: tuple[Measured, ...]) -> Table:
    operations = list(measured[0].rates.elements)
    names = (name.replace("_", " ") for name in operations)
    head = ("peaks, beside", "fp32", "int8", *names, "memory")
    rows = tuple(
        (
            f"{item.model}, {item.precision}",
            *(f"{rate / 1e9:,.0f} GFLOP/s" for rate in item.rates.products.values()),
            *(f"{item.rates.elements[name] / 1e9:.2f} G/s" for name in operations),
            f"{item.rates.bandwidth / 1e9:.1f} GB/s",
        )
        for item in measured
    )
    return Table(head, rows)


def _comparisons(measured: tuple[Measured, ...]) -> Table:
    head = (
        "model",
        "graph",
        "audio",
        "predicted",
        "products",
        "between them",
        "memory",
        "measured",
        "measured / predicted",
    )
    rows = tuple(_comparison(item, found) for item in measured for found in item.comparisons)
    return Table(head, rows)


def _comparison(item: Measured, found: Comparison) -> tuple[str, ...]:
    return (
        item.model,
        f"{found.graph}, {item.precision}",
        f"{item.seconds:g} s",
        text.seconds(found.predicted),
        *(text.seconds(found.by_limit[name]) for name in ("products", "elements", "bandwidth")),
        text.seconds(found.measured),
        f"{found.ratio:.2f}",
    )
