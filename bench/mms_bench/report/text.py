"""Numbers and names as a reader wants them."""

from mms_bench.schema import Figure, Result, Row

TIMES = "\N{MULTIPLICATION SIGN}"

_TITLES = {
    "transformers": "transformers (PyTorch, fp32)",
    "transformers-bf16": "transformers (PyTorch, bf16)",
    "onnx": "torch.onnx + ONNX Runtime (fp32)",
    "onnx-int8": "torch.onnx + ONNX Runtime, quantize_dynamic (int8)",
    "openvino": "OpenVINO (fp32)",
    "openvino-bf16": "OpenVINO (bf16)",
    "ours": "MMS Engine",
    "torchaudio": "torchaudio forced_align",
    "numpy": "NumPy argmax",
    "torch.onnx": "plain torch.onnx.export (fp32)",
}


def title(implementation: str) -> str:
    """Return the name of an implementation in a sentence."""
    if implementation.startswith("ours-"):
        return f"MMS Engine ({implementation.removeprefix('ours-')})"
    return _TITLES.get(implementation, implementation)


def seconds(value: float) -> str:
    """Return a duration with three digits and a fitting unit."""
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if value < limit:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def gigabytes(value: int | None) -> str:
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


def rate(row: Row) -> str:
    """Return the amount a second."""
    if row.summary is None or not row.amount:
        return ""
    return large(row.amount / row.summary.median)


def large(value: float) -> str:
    """Return a number with three digits and, where it is long, a prefix."""
    for limit, factor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e3, 1e3, "k")):
        if value >= limit:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"


def each(row: Row) -> str:
    """Return the time of one of the amount."""
    if row.summary is None or not row.amount:
        return ""
    return seconds(row.summary.median / row.amount)


def figure(wanted: Figure, row: Row) -> str:
    """Return a row's figure, empty where it has none."""
    value = row.figures.get(wanted.name)
    if value is None:
        return ""
    if wanted.kind == "share":
        return f"{value:.1%}"
    if wanted.kind == "seconds":
        return f"{value:.2f} s"
    return f"{value:.2f}" if wanted.kind == "ratio" else f"{value:.3g}"


def nats(value: float | None) -> str:
    """Return a log-probability."""
    return "" if value is None else f"{value:,.3f}"


def model(result: Result) -> str:
    """Return the model in a sentence."""
    found = result.model
    return f"{found.name}, {found.parameters / 1e6:,.0f} M parameters, {found.languages} languages"
