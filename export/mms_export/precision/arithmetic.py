"""The arithmetics a graph can be run in, and the two kernels that depend on them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mms_engine.bundle.schema import Precision

PRODUCTS_A_STEP = 16
"""Products that a tensor core adds up before the sum meets the accumulator."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Which graph runs, and in which number types.

    A node computes in float32 (a matrix product so adds up in float32, as tensor cores can), and
    every result is rounded to the type that the graph gives it.
    """

    name: str
    graph: Precision
    """The exported graph whose nodes and types are taken."""
    everywhere: torch.dtype | None = None
    """Type that takes the place of float32, as when a converter makes a whole graph 16-bit."""
    unfused_norm: bool = False
    """Whether layer norm is the nine operations of older exports, each rounded."""
    narrow_sums: bool = False
    """Whether matrix products of float16 add up in float16, as tensor cores can too."""


FP32 = Arithmetic("fp32", "fp32")
FP16 = Arithmetic("fp16", "fp16")
BF16 = Arithmetic("bf16", "bf16")
FP16_EVERYWHERE = Arithmetic("fp16 everywhere", "fp32", torch.float16)
FP16_UNFUSED = Arithmetic("fp16 everywhere, unfused", "fp32", torch.float16, unfused_norm=True)
BF16_EVERYWHERE = Arithmetic("bf16 everywhere", "fp32", torch.bfloat16)
FP16_NARROW_SUMS = Arithmetic("fp16, sums in fp16", "fp16", narrow_sums=True)


def rounded_norm(
    value: Tensor, scale: Tensor, bias: Tensor | None, epsilon: float, dtype: torch.dtype
) -> Tensor:
    """Return layer norm over the last axis in single operations, each rounded to `dtype`.

    `ReduceMean, Sub, Mul, ReduceMean, Add, Sqrt, Div, Mul, Add`: what exports wrote before opset
    17 had the operator. All tensors are float32 that hold values of `dtype`.
    """

    def rounded(tensor: Tensor) -> Tensor:
        return tensor.to(dtype).float()

    centred = rounded(value - rounded(value.mean(-1, keepdim=True)))
    variance = rounded(rounded(centred * centred).mean(-1, keepdim=True))
    deviation = rounded(rounded(variance + rounded(torch.tensor(epsilon))).sqrt())
    scaled = rounded(rounded(centred / deviation) * scale)
    return scaled if bias is None else rounded(scaled + bias)


def narrow_product(left: Tensor, right: Tensor) -> Tensor:
    """Return `left @ right`, the sum rounded to float16 every `PRODUCTS_A_STEP` products."""
    total: Tensor | None = None
    for start in range(0, left.shape[-1], PRODUCTS_A_STEP):
        end = start + PRODUCTS_A_STEP
        part = left[..., start:end] @ right[..., start:end, :]
        total = (part if total is None else part.add_(total)).half().float()
    return left @ right if total is None else total
