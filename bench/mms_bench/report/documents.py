"""Keeps the tables of a document equal to result files.

A document holds, on lines of their own, `<!-- mms-bench: FILE.json -->` and
`<!-- mms-bench: end -->`; what lies between is replaced.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from mms_bench.errors import BenchError
from mms_bench.report.markdown import render
from mms_bench.schema import Result

_BLOCK = re.compile(
    r"(?P<begin><!-- mms-bench: (?P<name>[\w.-]+\.json) -->\n).*?(?P<end><!-- mms-bench: end -->)",
    re.DOTALL,
)


def update(document: Path, results: Mapping[str, Result]) -> None:
    """Rewrite the blocks of the results given; others stay as they are.

    Raises:
        BenchError: the document has no block for one of the results.
    """
    before = document.read_text(encoding="utf-8")
    named = {match["name"] for match in _BLOCK.finditer(before)}
    for name in results:
        if name not in named:
            raise BenchError(
                f"{document} has no place for {name}: put the lines `<!-- mms-bench: {name} -->` "
                "and `<!-- mms-bench: end -->` where its tables belong"
            )
    document.write_text(updated(before, results), encoding="utf-8")


def updated(text: str, results: Mapping[str, Result]) -> str:
    """Return the text with the blocks of the results rewritten."""

    def replace(match: re.Match[str]) -> str:
        if match["name"] not in results:
            return match[0]
        return f"{match['begin']}\n{render(results[match['name']])}\n\n{match['end']}"

    return _BLOCK.sub(replace, text)
