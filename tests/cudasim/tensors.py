"""Tensors of the stand-in for TensorRT."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class DataType(enum.Enum):
    """Element types of TensorRT, with ONNX's number and the size in bytes."""

    FLOAT = (1, 4)
    UINT8 = (2, 1)
    INT8 = (3, 1)
    INT32 = (6, 4)
    INT64 = (7, 8)
    BOOL = (9, 1)
    HALF = (10, 2)
    BF16 = (16, 2)


Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class GraphTensor:
    """Input or output of a graph."""

    is_input: bool
    shape: tuple[int, ...]
    """With -1 for dynamic dimensions."""
    trt_type: DataType
