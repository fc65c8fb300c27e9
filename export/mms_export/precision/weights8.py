"""A copy of an fp16 graph whose matrices are stored in eight bits and widened before use.

Each column of a matrix has its own scale: a `DequantizeLinear` makes `stored * scale` of it. The
products stay what they were; languages, biases and the convolution keep 16 bits.
"""

from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from mms_export.checkpoints.weights import FloatArray
from mms_export.graphs.builder import Array
from mms_export.graphs.writer import INLINE_TOTAL, data_path

Storage = Literal["int8", "fp8"]
_LARGEST: dict[Storage, float] = {"int8": 127, "fp8": 448}
"""Largest magnitude of the integers, and of E4M3."""


def stored(weight: FloatArray, storage: Storage) -> tuple[Array, Array]:
    """Return a matrix `[inputs, outputs]` in eight bits, and float16 scales `[outputs]`."""
    peak = np.abs(weight).max(axis=0)
    scale = np.where(peak > 0, peak / _LARGEST[storage], 1).astype(np.float16)
    # A scale that underflowed to zero belongs to a column without a value that counts.
    scale = np.where(scale > 0, scale, np.float16(1))
    ratio = weight / scale.astype(np.float32)
    if storage == "int8":
        return np.rint(ratio).clip(-127, 127).astype(np.int8), scale
    return ratio.clip(-448, 448).astype(ml_dtypes.float8_e4m3fn), scale


def store_weights(source: Path, target: Path, storage: Storage) -> None:
    """Write the graph at `source` to `target`, its matrices in eight bits."""
    model = onnx.load(source)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    matrices = [node.input[1] for node in model.graph.node if node.op_type == "MatMul"]
    widening = []
    for name in filter(weights.__contains__, matrices):
        matrix = numpy_helper.to_array(weights[name]).astype(np.float32)
        for part, array in zip(("stored", "scale"), stored(matrix, storage), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(array, f"{name}.{part}"))
        model.graph.initializer.remove(weights[name])
        inputs = [f"{name}.stored", f"{name}.scale"]
        label = f"{name}.widened"
        widening.append(helper.make_node("DequantizeLinear", inputs, [name], label, axis=1))
    nodes = [*widening, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _save(model, target)


def _save(model: ModelProto, target: Path) -> None:
    large = model.ByteSize() > INLINE_TOTAL
    onnx.save(model, target, save_as_external_data=large, location=data_path(target).name)
