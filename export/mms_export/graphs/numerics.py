"""Number types of each precision."""

from dataclasses import dataclass

from mms_engine.types import Precision


@dataclass(frozen=True, slots=True)
class Numerics:
    """Number types of one precision.

    Residual stream, layer norm and softmax are float32 in every precision; precisions differ in
    the operands of matrix products.
    """

    precision: Precision
    operands: str
    """Dtype of weights, activations entering a product, and the adapter bank."""
    quantized: bool = False
    """Whether products with weights take 8-bit integers."""
    is_fused: bool = False
    """Whether attention over a graph's own frames is one operator of ONNX Runtime, which computes
    it in blocks of the processor's cache and never holds all scores."""
    headroom: int = 1
    """Divisor of each layer's contribution to the residual stream while it is an operand; a power
    of two, so that only exponents change. A single contribution may exceed 65,504, which a float32
    sum alone does not prevent (docs/precision.md)."""

    @property
    def opset(self) -> int:
        """Oldest opset that supports every operation in these types."""
        return 22 if self.operands == "bfloat16" else 20

    @property
    def kv_cache(self) -> str:
        """Dtype of a stream's KV cache."""
        return "bfloat16" if self.operands == "bfloat16" else "float16"


NUMERICS: dict[Precision, Numerics] = {
    "fp32": Numerics("fp32", "float32"),
    "fp16": Numerics("fp16", "float16", headroom=64),
    "bf16": Numerics("bf16", "bfloat16"),
    "int8": Numerics("int8", "float32", quantized=True, is_fused=True),
}
