"""Results as one HTML page with plots, which needs no other file and no network."""

import base64
import re
from collections.abc import Sequence
from html import escape

from mms_bench.errors import BenchError
from mms_bench.report.content import CaseReport, Table, case_reports, facts, promises
from mms_bench.schema import Result

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #212529; max-width: 66rem; margin: 2rem auto;
  padding: 0 1rem; }
h2 { border-top: 1px solid #dee2e6; padding-top: 1.5rem; }
h3 { margin: 2rem 0 .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .8rem; margin: .6rem 0; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #e9ecef; text-align: right;
  font-variant-numeric: tabular-nums; vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9rem; }
th { white-space: normal; vertical-align: bottom; }
table.words td, table.words th { text-align: left; white-space: normal; }
table.promises td:last-child { text-align: left; white-space: normal; min-width: 12rem; }
.pass { color: #2b8a3e; } .fail { color: #c92a2a; font-weight: 600; }
img { max-width: 100%; display: block; }
p.note, li { color: #495057; font-size: .9rem; }
code { font-size: .85em; overflow-wrap: anywhere; }
"""


def render(results: Sequence[Result]) -> str:
    """Return the page. Results stand one after the other and are never compared.

    Raises:
        BenchError: the library that draws is not installed.
    """
    body = "".join(_result(result) for result in results)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>MMS Engine: measurements</title>\n<style>{_STYLE}</style>\n"
        f"<h1>MMS Engine: measurements</h1>\n{body}</html>\n"
    )


def _result(result: Result) -> str:
    points = "".join(f"<li>{_inline(fact)}</li>\n" for fact in facts(result))
    cases = "".join(_case(report) for report in case_reports(result))
    heading = f"Suite {escape(result.suite)}, {escape(result.created[:10])}"
    kept = promises(result)
    last = f"<h3>Promises</h3>\n{_table(kept, kind='promises')}" if kept.rows else ""
    return f"<h2>{heading}</h2>\n<ul>\n{points}</ul>\n{cases}{last}"


def _case(report: CaseReport) -> str:
    parts = [f"<h3>{escape(report.case.title)}</h3>\n"]
    parts.append(f'<p class="note">{_inline(report.case.timing)}</p>\n')
    if report.figures is not None:
        parts += [_picture(report), _table(report.figures, kind="figures")]
    if report.left_out is not None:
        parts.append(_table(report.left_out, kind="words"))
    return "".join(parts)


def first_picture(results: Sequence[Result]) -> bytes:
    """Return the first case that was measured as an SVG picture.

    Raises:
        BenchError: there is none, or matplotlib is not installed.
    """
    for report in (report for result in results for report in case_reports(result)):
        if report.figures is not None:
            return draw(report)
    raise BenchError("nothing was measured that could be drawn")


def draw(report: CaseReport) -> bytes:
    """Return a case as an SVG picture: its curves, or bars where it has none.

    Raises:
        BenchError: matplotlib is not installed.
    """
    try:
        from mms_bench.report.curves import plot_curves
        from mms_bench.report.plots import plot
    except ImportError as error:
        raise BenchError("pictures need matplotlib: pip install 'mms-engine[bench]'") from error
    return (plot_curves if report.case.curves else plot)(report.case, report.measured)


def _picture(report: CaseReport) -> str:
    kind = "Curves" if report.case.curves else "Bar chart"
    content = base64.b64encode(draw(report)).decode()
    words = escape(f"{kind}: {report.case.title}", quote=True)
    return f'<img alt="{words}" src="data:image/svg+xml;base64,{content}">\n'


def _table(table: Table, *, kind: str) -> str:
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in table.head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in table.rows)
    rows = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>"
    return f'<div class="scroll"><table class="{kind}">\n{rows}</table></div>\n'


def _cell(content: str) -> str:
    verdict = content.partition(" ")[0]
    mark = f' class="{verdict}"' if verdict in ("pass", "fail") else ""
    return f"<td{mark}>{_inline(content)}</td>"


def _inline(content: str) -> str:
    """Return text with `code` marked up."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(content))
