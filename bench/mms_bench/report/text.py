"""Numbers and names in the form of a report; empty for `None`."""

from mms_bench.peers import PEERS
from mms_bench.run.result import Figure, Row

TIMES = "\N{MULTIPLICATION SIGN}"

_TITLES = {"ours": "MMS Engine", "torch.onnx": "plain torch.onnx.export (fp32)"}


def title(implementation: str) -> str:
    """Return the name of an implementation for a reader."""
    if implementation in PEERS:
        return PEERS[implementation].title
    if implementation.startswith("ours-"):
        return f"MMS Engine ({implementation.removeprefix('ours-')})"
    return _TITLES.get(implementation, implementation)


def seconds(value: float | None) -> str:
    """Return a duration with three digits and a fitting unit."""
    if value is None:
        return ""
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if value < limit:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def size(value: float | None) -> str:
    """Return bytes as GB or MB (powers of ten)."""
    if value is None:
        return ""
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def times(value: float | None) -> str:
    """Return a ratio."""
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}{TIMES}"


def large(value: float) -> str:
    """Return a number with three digits and, if it is large, a prefix."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def rate(row: Row) -> str:
    """Return the amount per second."""
    return large(row.amount / row.summary.median) if row.summary and row.amount else ""


def each(row: Row) -> str:
    """Return the time per unit of the amount."""
    return seconds(row.summary.median / row.amount) if row.summary and row.amount else ""


def figure(wanted: Figure, row: Row) -> str:
    """Return a figure of a row."""
    value = row.figures.get(wanted.name)
    if value is None:
        return ""
    forms = {"share": f"{value:.1%}", "seconds": f"{value:.2f} s", "ratio": f"{value:.2f}"}
    shown = forms.get(wanted.kind, f"{value:.3g}")
    if not wanted.interval:
        return shown
    low, high = (f"{row.figures[f'{wanted.name}_{end}']:.1%}" for end in ("low", "high"))
    return f"{shown} ({low.removesuffix('%')} … {high})"
