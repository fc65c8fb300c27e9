"""Checks of a network against the manifest entry of its graph."""

from typing import Any

from mms_engine.backends.probes import PLAN_DTYPES
from mms_engine.bundle.manifest import Graph, Tensor
from mms_engine.errors import PlanError
from mms_export.graphs.numerics import NUMERICS

_FLOATS = {"float32", "float16", "bfloat16"}
_PRODUCTS = {"MATRIX_MULTIPLY", "CONVOLUTION", "DECONVOLUTION"}
_EXACT = {"NORMALIZATION", "SOFTMAX"}


def check_network(network: Any, graph: Graph) -> None:  # noqa: ANN401
    """Compare a network's inputs, outputs and number types with its graph's entry.

    Raises:
        PlanError: naming the difference.
    """
    found_inputs = [network.get_input(index) for index in range(network.num_inputs)]
    found_outputs = [network.get_output(index) for index in range(network.num_outputs)]
    _check_tensors(graph, "inputs", found_inputs, graph.inputs)
    _check_tensors(graph, "outputs", found_outputs, graph.outputs)
    for index in range(network.num_layers):
        _check_numbers(graph, network.get_layer(index))


def _check_tensors(graph: Graph, kind: str, found: list[Any], named: tuple[Tensor, ...]) -> None:
    by_name = {tensor.name: tensor for tensor in found}
    if set(by_name) != {tensor.name for tensor in named}:
        raise PlanError(
            f"{_title(graph)} has the {kind} {', '.join(sorted(by_name))}, the manifest says "
            f"{', '.join(sorted(tensor.name for tensor in named))}"
        )
    for tensor in named:
        there = by_name[tensor.name]
        shape = tuple(-1 if isinstance(size, str) else size for size in tensor.shape)
        dtype = _dtype(there.dtype)
        if (dtype, tuple(there.shape)) != (tensor.dtype, shape):
            raise PlanError(
                f"{tensor.name} of {_title(graph)} is {dtype}{list(there.shape)}, the manifest "
                f"says {tensor.dtype}{list(tensor.shape)}"
            )


def _check_numbers(graph: Graph, layer: Any) -> None:  # noqa: ANN401
    """Check that products take the precision's operands, and that norms and softmax are float32.

    The network is strongly typed, so these are the types that run.
    """
    operands, kind = NUMERICS[graph.precision].operands, layer.type.name
    tensors = [layer.get_input(i) for i in range(layer.num_inputs)]
    tensors += [layer.get_output(i) for i in range(layer.num_outputs)]
    dtypes = {_dtype(tensor.dtype) for tensor in tensors if tensor is not None} & _FLOATS
    allowed = {"float32", operands}
    if kind in _PRODUCTS:
        allowed = {operands}
    elif kind in _EXACT:
        allowed = {"float32"}
    if not dtypes <= allowed:
        raise PlanError(
            f"layer {layer.name} ({kind.lower()}) of {_title(graph)} computes in "
            f"{', '.join(sorted(dtypes))} instead of {' or '.join(sorted(allowed))}"
        )


def _dtype(dtype: Any) -> str:  # noqa: ANN401
    return PLAN_DTYPES.get(dtype.name, str(dtype.name).lower())


def _title(graph: Graph) -> str:
    return f"the network {graph.name}.{graph.precision}"
