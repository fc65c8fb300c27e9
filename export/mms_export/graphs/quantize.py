"""8-bit products: weights quantised per column at export, activations per row at run time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_export.graphs.builder import CONTRIB, GraphBuilder

WEIGHT_LIMIT = 63
"""Largest quantised weight, 7 bits: CPUs without VNNI sum pairs of 8-bit products in 16 bits, where
2 x 255 x 127 would saturate."""


@dataclass(frozen=True, slots=True)
class Range:
    """Mapping of floats to the integers 0 to 255: `x / scale + zero`, with a scale per row."""

    zero: int
    lowest: float | None
    """Lower bound of all values; None for a symmetric range."""


BOTH_SIDES = Range(zero=128, lowest=None)
GELU_OUTPUT = Range(zero=32, lowest=-0.17)
"""GELU never falls below -0.17, so most of the integers serve positive values."""


def quantize_weight(
    weight: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantise a matrix `[inputs, outputs]` symmetrically, with a scale per column.

    Returns:
        Integers int8 `[inputs, outputs]` and scales float32 `[outputs]`.
    """
    peak = np.abs(weight).max(axis=0)
    scale = np.where(peak > 0, peak / WEIGHT_LIMIT, 1).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


@dataclass(frozen=True, slots=True)
class QuantizedRows:
    """Names of the integers uint8 `[rows, inputs]`, and of what multiplies them back."""

    integers: str
    scales: str
    """Float32 `[rows, 1]`."""
    zero: str
    outer: str
    """Shape of the value before its last axis."""


def quantize_rows(graph: GraphBuilder, value: str, spread: Range, inputs: int) -> QuantizedRows:
    """Quantise a float32 value `[B, T, inputs]`.

    Each frame has its own scale, so its result does not depend on the rest of the batch.

    Args:
        graph: Graph to add to.
        value: Value to quantise.
        spread: Range of the values.
        inputs: Size of the last axis.
    """
    rows = graph.op("Reshape", value, graph.ints(-1, inputs))
    scale = _row_scales(graph, rows, spread)
    zero = graph.constant(spread.zero, "uint8")
    zeros = graph.op("Expand", zero, graph.op("Shape", scale))
    return QuantizedRows(
        integers=graph.op("QuantizeLinear", rows, scale, zeros, axis=0),
        scales=graph.op("Unsqueeze", scale, graph.ints(1)),
        zero=zero,
        outer=graph.op("Shape", value, start=0, end=-1),
    )


def quantized_product(
    graph: GraphBuilder, rows: QuantizedRows, weight: tuple[str, str], outputs: int
) -> str:
    """Multiply quantised rows by quantised weights; return float32 `[B, T, outputs]`.

    Args:
        graph: Graph to add to.
        rows: Rows to multiply.
        weight: Names of the integers and of the column scales.
        outputs: Columns of the matrix.
    """
    one = graph.constant(1.0, "float32")
    product = graph.op(
        "MatMulIntegerToFloat", rows.integers, weight[0], one, weight[1], rows.zero, domain=CONTRIB
    )
    scaled = graph.op("Mul", product, rows.scales)
    return graph.op("Reshape", scaled, graph.op("Concat", rows.outer, graph.ints(outputs), axis=0))


def _row_scales(graph: GraphBuilder, rows: str, spread: Range) -> str:
    """Return float32 `[rows]`: the smallest scale that clips no value of a row."""
    axis = graph.ints(1)
    high = graph.op("ReduceMax", rows, axis, keepdims=0)
    if spread.lowest is None:
        low = graph.op("Neg", graph.op("ReduceMin", rows, axis, keepdims=0))
        peak = graph.op("Max", high, low, graph.constant(1e-12, "float32"))
        return graph.op("Mul", peak, graph.constant(1 / (255 - spread.zero), "float32"))
    scale = graph.op("Mul", high, graph.constant(1 / (255 - spread.zero), "float32"))
    return graph.op("Max", scale, graph.constant(-spread.lowest / spread.zero, "float32"))
