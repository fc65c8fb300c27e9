"""The tables of docs/precision.md, made from result files.

The page holds, on lines of their own, `<!-- precision: FILE.json -->` and
`<!-- precision: end -->`; what lies between is replaced.
"""

import re
from collections.abc import Iterable, Mapping

from mms_export.precision.result import Row, Survey

_BLOCK = re.compile(
    r"(?P<begin><!-- precision: (?P<name>[\w.-]+) -->\n).*?(?P<end><!-- precision: end -->)",
    re.DOTALL,
)


def updated(text: str, surveys: Mapping[str, Survey]) -> str:
    """Return the page with the tables of the surveys given, by file name."""

    def replace(match: re.Match[str]) -> str:
        if match["name"] not in surveys:
            return match[0]
        return f"{match['begin']}\n{tables(surveys[match['name']])}\n{match['end']}"

    return _BLOCK.sub(replace, text)


def tables(survey: Survey) -> str:
    """Return what a survey found, as Markdown."""
    heading = (
        f"**{survey.model}**: {survey.layers} layers of {survey.hidden_size}, {survey.clips} "
        f"clip{'s' if survey.clips > 1 else ''}, {survey.seconds:g} s, {survey.frames} frames. "
        f"Largest magnitude in the stream {survey.stream_peak:.1f}, added at once by one layer "
        f"{survey.added_peak:.1f}."
    )
    return "\n".join(
        [heading, "", *_formats(survey.formats), "", *_sweep(survey), *_limits(survey), ""]
    )


def _formats(rows: Iterable[Row]) -> list[str]:
    heads = [
        "frames as in fp32",
        "largest difference of a logit",
        "below normal",
        "encoder weights",
    ]
    lines = [f"| the stream as it is | {' | '.join(heads)} |", "| --- | --: | --: | --: | --: |"]
    for row in rows:
        cells = [row.arithmetic, share(row.agreement), _error(row), share(row.subnormal)]
        lines.append(f"| {' | '.join(cells)} | {row.weight_bytes / 1e6:,.1f} MB |")
    return lines


def _sweep(survey: Survey) -> list[str]:
    names = list(dict.fromkeys(row.arithmetic for row in survey.sweep))
    found = {(row.arithmetic, row.gain): row for row in survey.sweep}
    lines = [
        f"| largest in the stream | {' | '.join(names)} |",
        f"| --: |{' --: |' * len(names)}",
    ]
    for gain in dict.fromkeys(row.gain for row in survey.sweep):
        cells = [share(found[name, gain].agreement) for name in names]
        lines.append(f"| {gain * survey.stream_peak:,.0f} | {' | '.join(cells)} |")
    return lines


def _limits(survey: Survey) -> list[str]:
    lines = ["", "The first results that do not fit their type, and the stream at which:", ""]
    seen = set()
    for row in sorted(survey.sweep, key=lambda row: row.gain):
        if row.first_overflow and row.arithmetic not in seen:
            seen.add(row.arithmetic)
            at = f"{row.gain * survey.stream_peak:,.0f}"
            lines.append(f"- {row.arithmetic}: `{row.first_overflow}`, at {at}")
    return lines if seen else []


def _error(row: Row) -> str:
    return "not finite" if row.max_abs_error is None else f"{row.max_abs_error:.2g}"


def share(value: float) -> str:
    """Return a share as a percentage."""
    return f"{value:.2%}".replace("%", " %")
