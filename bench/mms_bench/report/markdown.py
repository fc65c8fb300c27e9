"""A result as Markdown."""

from mms_bench.report.content import CaseReport, Table, case_reports, facts, promises
from mms_bench.schema import Result


def render(result: Result) -> str:
    """Return the whole result as Markdown."""
    parts = [
        f"## Suite `{result.suite}`, {result.created[:10]}",
        "\n".join(f"- {fact}" for fact in facts(result)),
        *(_case(report) for report in case_reports(result)),
    ]
    kept = promises(result)
    if kept.rows:
        parts += ["### Promises", table(kept)]
    return "\n\n".join(parts)


def _case(report: CaseReport) -> str:
    tables = [table(found) for found in (report.figures, report.left_out) if found is not None]
    return "\n\n".join([f"### {report.case.title}", report.case.timing, *tables])


def table(content: Table) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    lines = [content.head, ["---"] + ["---:"] * (len(content.head) - 1), *content.rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
