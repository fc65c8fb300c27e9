"""Keeps the tables of a document equal to result files.

A document holds, on lines of their own, `<!-- mms-bench: FILE.json -->` (or `FILE.json#PART`) and
`<!-- mms-bench: end -->`; what lies between is replaced.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from mms_bench.errors import BenchError

_BLOCK = re.compile(
    r"(?P<begin><!-- mms-bench: (?P<name>[\w.-]+\.json(?:#\w+)?) -->\n)"
    r".*?(?P<end><!-- mms-bench: end -->)",
    re.DOTALL,
)


def update(document: Path, blocks: Mapping[str, str]) -> None:
    """Rewrite the blocks given, by name, with their Markdown; others stay as they are.

    Raises:
        BenchError: the document has no place for one of them.
    """
    before = document.read_text(encoding="utf-8")
    named = {match["name"] for match in _BLOCK.finditer(before)}
    for name in blocks:
        if name not in named:
            raise BenchError(
                f"{document} has no place for {name}: put the lines `<!-- mms-bench: {name} -->` "
                "and `<!-- mms-bench: end -->` where its tables belong"
            )
    document.write_text(updated(before, blocks), encoding="utf-8")


def updated(text: str, blocks: Mapping[str, str]) -> str:
    """Return the text with the blocks given rewritten."""

    def replace(match: re.Match[str]) -> str:
        if match["name"] not in blocks:
            return match[0]
        return f"{match['begin']}\n{blocks[match['name']]}\n\n{match['end']}"

    return _BLOCK.sub(replace, text)
