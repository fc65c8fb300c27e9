"""ONNX operators of the graphs in torch, computed in float32; the evaluator rounds the results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Attributes = Mapping[str, Any]
Inputs = Sequence[Any]
Operator = Callable[[Attributes, Inputs], list[Tensor]]
"""Maps a node's attributes and inputs, None for an omitted one, to its outputs."""


def _ints(tensor: Tensor) -> list[int]:
    return [int(value) for value in tensor.reshape(-1)]


def _one(compute: Callable[..., Tensor]) -> Operator:
    """Return an operator that ignores the attributes and has one output."""
    return lambda _, inputs: [compute(*inputs)]


def _div(left: Tensor, right: Tensor) -> Tensor:
    rounding = None if left.is_floating_point() else "trunc"
    return torch.div(left, right, rounding_mode=rounding)


def _conv(attributes: Attributes, inputs: Inputs) -> list[Tensor]:
    value, weight, bias = (*inputs, None)[:3]
    padded = functional.pad(value, tuple(attributes["pads"]))
    dilations, groups = attributes.get("dilations", [1]), attributes["group"]
    return [functional.conv1d(padded, weight, bias, dilation=dilations, groups=groups)]


def _conv_transpose(attributes: Attributes, inputs: Inputs) -> list[Tensor]:
    value, weight, bias = inputs
    around, _ = attributes["pads"]
    stride = attributes["strides"]
    return [functional.conv_transpose1d(value, weight, bias, stride=stride, padding=around)]


def _layer_norm(attributes: Attributes, inputs: Inputs) -> list[Tensor]:
    value, scale, bias = (*inputs, None)[:3]
    return [functional.layer_norm(value, scale.shape, scale, bias, attributes["epsilon"])]


def _shape(attributes: Attributes, inputs: Inputs) -> list[Tensor]:
    shape = inputs[0].shape[attributes.get("start", 0) : attributes.get("end")]
    return [torch.tensor(shape, dtype=torch.int64)]


def _squeeze(value: Tensor, axes: Tensor) -> Tensor:
    return value.squeeze(tuple(_ints(axes)))


def _unsqueeze(value: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(_ints(axes)):
        value = value.unsqueeze(axis)
    return value


def _slice(value: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, *steps: Tensor) -> Tensor:
    strides = _ints(steps[0]) if steps else [1] * len(axes)
    cut = [slice(None)] * value.ndim
    for start, end, axis, step in zip(
        _ints(starts), _ints(ends), _ints(axes), strides, strict=True
    ):
        cut[axis] = slice(start, end, step)
    return value[tuple(cut)]


def _reshape(value: Tensor, shape: Tensor) -> Tensor:
    sizes = [value.shape[axis] if size == 0 else size for axis, size in enumerate(_ints(shape))]
    return value.reshape(sizes)


def _split(attributes: Attributes, inputs: Inputs) -> list[Tensor]:
    value, *sizes = inputs
    axis = attributes["axis"]
    if sizes:
        return list(value.split(_ints(sizes[0]), axis))
    return list(value.split(-(-value.shape[axis] // attributes["num_outputs"]), axis))


def _gather(attributes: Attributes, inputs: Inputs) -> list[Tensor]:
    value, index = inputs
    axis = attributes["axis"]
    taken = value.index_select(axis, index.reshape(-1))
    return [taken.reshape(*value.shape[:axis], *index.shape, *value.shape[axis + 1 :])]


def _gather_elements(attributes: Attributes, inputs: Inputs) -> list[Tensor]:
    return [inputs[0].gather(attributes["axis"], inputs[1])]


def _pad(value: Tensor, pads: Tensor, fill: Tensor, axes: Tensor) -> Tensor:
    if _ints(axes) != [-1]:
        raise ValueError("only the last axis is padded")
    return functional.pad(value, tuple(_ints(pads)), value=float(fill))


def _reduce_sum(attributes: Attributes, inputs: Inputs) -> list[Tensor]:
    value, axes = inputs
    return [value.sum(tuple(_ints(axes)), keepdim=bool(attributes["keepdims"]))]


def _range(start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    return torch.arange(int(start), int(limit), int(step))


OPERATORS: dict[str, Operator] = {
    "Add": _one(torch.add),
    "And": _one(torch.logical_and),
    "Cast": _one(lambda value: value),
    "Clip": _one(torch.clamp),
    "Concat": lambda attributes, inputs: [torch.cat(list(inputs), attributes["axis"])],
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "CumSum": _one(lambda value, axis: value.cumsum(int(axis))),
    "Div": _one(_div),
    "Equal": _one(torch.eq),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gelu": _one(functional.gelu),
    "GreaterOrEqual": _one(torch.ge),
    "Identity": _one(lambda value: value),
    "LeakyRelu": lambda attributes, inputs: [functional.leaky_relu(inputs[0], attributes["alpha"])],
    "LayerNormalization": _layer_norm,
    "Less": _one(torch.lt),
    "MatMul": _one(torch.matmul),
    "Max": _one(torch.maximum),
    "Mul": _one(torch.mul),
    "Neg": _one(torch.neg),
    "Pad": _one(_pad),
    "Range": _one(_range),
    "ReduceSum": _reduce_sum,
    "Relu": _one(torch.relu),
    "Reshape": _one(_reshape),
    "Shape": _shape,
    "Sigmoid": _one(torch.sigmoid),
    "Slice": _one(_slice),
    "Softmax": lambda attributes, inputs: [torch.softmax(inputs[0], attributes["axis"])],
    "Softplus": _one(functional.softplus),
    "Split": _split,
    "Sqrt": _one(torch.sqrt),
    "Squeeze": _one(_squeeze),
    "Sub": _one(torch.sub),
    "Tanh": _one(torch.tanh),
    "Transpose": lambda attributes, inputs: [inputs[0].permute(attributes["perm"])],
    "Unsqueeze": _one(_unsqueeze),
    "Where": _one(torch.where),
}
