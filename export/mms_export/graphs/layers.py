"""Layers shared by the graphs, in the number types of a precision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.weights import FloatArray, Weights
from mms_export.graphs.builder import CONTRIB, Array, GraphBuilder
from mms_export.graphs.numerics import Numerics
from mms_export.graphs.quantize import (
    BOTH_SIDES,
    QuantizedRows,
    Range,
    quantize_rows,
    quantize_weight,
    quantized_product,
)

EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Matrix:
    """Weight matrix `[inputs, outputs]` and bias `[outputs]`, read when the graph is written."""

    name: str
    inputs: int
    outputs: int
    weight: Callable[[], FloatArray]
    bias: Callable[[], FloatArray]


@dataclass(slots=True)
class Layers:
    """Layers of a checkpoint, added to a graph.

    Values are float32; operands have the precision's operand dtype.
    """

    graph: GraphBuilder
    numerics: Numerics
    config: Wav2Vec2
    weights: Weights

    def matrix(self, name: str, inputs: int, outputs: int) -> Matrix:
        """Return a linear layer of the checkpoint, transposed from `[outputs, inputs]`."""
        return Matrix(
            name=name,
            inputs=inputs,
            outputs=outputs,
            weight=lambda: self.weights.read(f"{name}.weight").T,
            bias=lambda: self.weights.read(f"{name}.bias"),
        )

    def operand(self, value: str) -> str:
        """Convert a float32 value to the operand dtype."""
        if self.numerics.operands == "float32":
            return value
        return self.graph.cast(value, self.numerics.operands)

    def widen(self, operand: str) -> str:
        """Convert an operand to float32."""
        if self.numerics.operands == "float32":
            return operand
        return self.graph.cast(operand, "float32")

    def operand_weight(self, name: str, shape: tuple[int, ...], read: Callable[[], Array]) -> str:
        """Add a weight stored in the operand dtype."""
        return self.graph.weight(name, self.numerics.operands, shape, read)

    def linear(self, value: str, matrix: Matrix) -> str:
        """Multiply a float32 value `[B, T, inputs]` by a matrix; return an operand."""
        return self.operand_linear(self.operand(value), matrix)

    def operand_linear(self, operand: str, matrix: Matrix, spread: Range = BOTH_SIDES) -> str:
        """Multiply an operand `[B, T, inputs]` by a matrix; return an operand.

        `spread` is the value range that 8-bit quantisation has to cover.
        """
        if self.numerics.quantized:
            rows = quantize_rows(self.graph, operand, spread, matrix.inputs)
            return self.graph.op("Add", *self._quantized_linear(rows, matrix))
        return self._whole_linear(operand, matrix)

    def linears(self, value: str, matrices: Sequence[Matrix]) -> list[str]:
        """Multiply one float32 value `[B, T, inputs]` by each matrix; return operands."""
        if self.numerics.quantized:
            rows = quantize_rows(self.graph, value, BOTH_SIDES, matrices[0].inputs)
            return [self.graph.op("Add", *self._quantized_linear(rows, m)) for m in matrices]
        operand = self.operand(value)
        return [self._whole_linear(operand, matrix) for matrix in matrices]

    def _whole_linear(self, operand: str, matrix: Matrix) -> str:
        shape = (matrix.inputs, matrix.outputs)
        weight = self.operand_weight(f"{matrix.name}.weight", shape, matrix.weight)
        bias = self.operand_weight(f"{matrix.name}.bias", (matrix.outputs,), matrix.bias)
        return self.graph.op("Add", self.graph.op("MatMul", operand, weight), bias)

    def linear_gelu(self, value: str, matrix: Matrix) -> str:
        """Multiply a float32 value by a matrix and apply GELU; return an operand."""
        if self.numerics.quantized:
            # Written fused: ONNX Runtime fuses the pair only where it can infer shapes.
            rows = quantize_rows(self.graph, value, BOTH_SIDES, matrix.inputs)
            parts = self._quantized_linear(rows, matrix)
            return self.graph.op("BiasGelu", *parts, domain=CONTRIB)
        return self.graph.op("Gelu", self.linear(value, matrix))

    def _quantized_linear(self, rows: QuantizedRows, matrix: Matrix) -> tuple[str, str]:
        """Return the 8-bit product, and the bias still to be added."""
        graph = self.graph
        shape = (matrix.inputs, matrix.outputs)
        weight = graph.weight(
            f"{matrix.name}.weight", "int8", shape, lambda: quantize_weight(matrix.weight())[0]
        )
        scale = graph.weight(
            f"{matrix.name}.scale",
            "float32",
            (matrix.outputs,),
            lambda: quantize_weight(matrix.weight())[1],
        )
        bias = graph.weight(f"{matrix.name}.bias", "float32", (matrix.outputs,), matrix.bias)
        return quantized_product(graph, rows, (weight, scale), matrix.outputs), bias

    def lowered(self, matrix: Matrix) -> Matrix:
        """Return a matrix divided by the headroom; `added` multiplies by it again."""
        if self.numerics.headroom == 1:
            return matrix
        share = np.float32(1 / self.numerics.headroom)
        return replace(
            matrix,
            weight=lambda: matrix.weight() * share,
            bias=lambda: matrix.bias() * share,
        )

    def lowered_operand(self, operand: str) -> str:
        """Divide an operand by the headroom; `added` multiplies by it again."""
        numerics = self.numerics
        if numerics.headroom == 1:
            return operand
        share = self.graph.constant(1 / numerics.headroom, numerics.operands)
        return self.graph.op("Mul", operand, share)

    def added(self, value: str, change: str) -> str:
        """Add an operand to the residual stream, multiplied by the headroom."""
        wide = self.widen(change)
        if self.numerics.headroom != 1:
            factor = self.graph.constant(self.numerics.headroom, "float32")
            wide = self.graph.op("Mul", wide, factor)
        return self.graph.op("Add", value, wide)

    def layer_norm(self, value: str, scale: str, bias: str = "") -> str:
        """Normalise a float32 value over its last axis."""
        inputs = (value, scale, bias) if bias else (value, scale)
        return self.graph.op("LayerNormalization", *inputs, axis=-1, epsilon=EPSILON)

    def named_layer_norm(self, value: str, name: str, size: int) -> str:
        """Normalise with `<name>.weight` and `<name>.bias` of the checkpoint."""
        parts = [
            self.graph.weight(full, "float32", (size,), partial(self.weights.read, full))
            for full in (f"{name}.weight", f"{name}.bias")
        ]
        return self.layer_norm(value, *parts)
