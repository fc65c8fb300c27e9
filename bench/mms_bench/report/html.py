"""Results as one HTML page with plots, without other files or network."""

import base64
import re
from collections.abc import Sequence
from html import escape

from mms_bench.errors import BenchError
from mms_bench.report.markdown import Section, Table, facts, sections
from mms_bench.run.result import Result

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-size: .8rem; margin: .6rem 0; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #e9ecef; text-align: right; }
th:first-child, td:first-child { text-align: left; min-width: 9rem; }
.pass { color: #2b8a3e; } .fail { color: #c92a2a; font-weight: 600; }
img { max-width: 100%; display: block; }
code { font-size: .85em; overflow-wrap: anywhere; }
"""


def render(results: Sequence[Result]) -> str:
    """Return the page. Results follow one another and are never compared.

    Raises:
        BenchError: matplotlib is not installed.
    """
    body = "".join(map(_result, results))
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>MMS Engine: benchmarks</title>\n<style>{_STYLE}</style>\n"
        f"<h1>MMS Engine: benchmarks</h1>\n{body}</html>\n"
    )


def _result(result: Result) -> str:
    points = "".join(f"<li>{_inline(fact)}</li>\n" for fact in facts(result))
    heading = f"Suite {escape(result.suite)}, {escape(result.created[:10])}"
    return f"<h2>{heading}</h2>\n<ul>\n{points}</ul>\n{''.join(map(_section, sections(result)))}"


def _section(section: Section) -> str:
    from mms_bench.report.plots import draw

    parts = [f"<h3>{escape(section.title)}</h3>\n"]
    if section.case:
        parts.append(f"<p>{_inline(section.case.timing)}</p>\n")
    if section.case and section.measured:
        content = base64.b64encode(draw(section.case, section.measured)).decode()
        words = escape(f"Chart: {section.title}", quote=True)
        parts.append(f'<img alt="{words}" src="data:image/svg+xml;base64,{content}">\n')
    return "".join([*parts, *map(_table, section.tables)])


def first_picture(results: Sequence[Result]) -> bytes:
    """Return the first measured case as an SVG picture.

    Raises:
        BenchError: there is none, or matplotlib is not installed.
    """
    from mms_bench.report.plots import draw

    for section in (section for result in results for section in sections(result)):
        if section.case and section.measured:
            return draw(section.case, section.measured)
    raise BenchError("no case has figures to draw")


def _table(table: Table) -> str:
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in table.head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in table.rows)
    rows = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>"
    return f"<div><table>\n{rows}</table></div>\n"


def _cell(content: str) -> str:
    verdict = content.partition(" ")[0]
    mark = f' class="{verdict}"' if verdict in ("pass", "fail") else ""
    return f"<td{mark}>{_inline(content)}</td>"


def _inline(content: str) -> str:
    """Return escaped text with `code` and **bold** marked up."""
    code = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(content))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", code)
