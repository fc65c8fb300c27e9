"""Which number types a graph computes in."""

from dataclasses import dataclass

from mms_engine.bundle.schema import Precision


@dataclass(frozen=True, slots=True)
class Numerics:
    """The number types of one precision.

    The residual stream, layer norms and softmax are float32 in every precision; what differs is
    the operands of the matrix products.
    """

    precision: Precision
    operands: str
    """Dtype of weights and of what they multiply, and of the adapter bank."""
    quantized: bool = False
    """Whether the products with weights take 8-bit integers."""
    headroom: int = 1
    """Factor by which what a layer adds to the residual stream is made smaller while it is an
    operand; a power of two, so that only exponents change. One layer may add to a place nearly all
    that ever is there: a float32 sum is no help where what is added is beyond 65,504 by itself
    (docs/precision.md)."""

    @property
    def opset(self) -> int:
        """The oldest opset that has every operation used in these types."""
        return 22 if self.operands == "bfloat16" else 20

    @property
    def memory(self) -> str:
        """Dtype of the keys and values that a stream keeps."""
        return "bfloat16" if self.operands == "bfloat16" else "float16"


NUMERICS: dict[Precision, Numerics] = {
    "fp32": Numerics("fp32", "float32"),
    "fp16": Numerics("fp16", "float16", headroom=64),
    "bf16": Numerics("bf16", "bfloat16"),
    "int8": Numerics("int8", "float32", quantized=True),
}
