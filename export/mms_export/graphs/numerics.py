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
    emulated: bool = False
    """Whether operands are rounded to their type but multiplied in float32, as a processor without
    that type's arithmetic must."""

    @property
    def opset(self) -> int:
        """The oldest opset that has every operation used in these types."""
        return 22 if self.operands == "bfloat16" else 20

    @property
    def memory(self) -> str:
        """Dtype of the keys and values that a stream keeps."""
        if self.emulated:
            return self.compute
        return "bfloat16" if self.operands == "bfloat16" else "float16"

    @property
    def compute(self) -> str:
        """Dtype in which products are computed."""
        return "float32" if self.emulated else self.operands


NUMERICS: dict[Precision, Numerics] = {
    "fp32": Numerics("fp32", "float32"),
    "fp16": Numerics("fp16", "float16"),
    "bf16": Numerics("bf16", "bfloat16"),
    "int8": Numerics("int8", "float32", quantized=True),
}
