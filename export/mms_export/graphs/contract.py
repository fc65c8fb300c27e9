"""What the inputs and outputs of the graphs mean, for the manifest."""

from onnx import TensorProto, ValueInfoProto

from mms_engine.bundle.schema import Tensor
from mms_export.graphs.builder import DTYPES, GraphBuilder

RECIPE = 2
"""Raised whenever the code of the graphs changes what it writes; older graphs are written anew."""

MEANINGS = {
    "audio": "normalised samples, zero behind the end of a row",
    "features": "output of the frontend; what lies behind a row's length has no effect",
    "lengths": "frames of each row that are not padding",
    "slot": "row of the adapter bank that each row of the batch takes",
    "adapters": "adapter weights, one language a row, as in the adapter files",
    "head_weight": "weights of each language's head; zero behind its own tokens",
    "head_bias": "biases of each language's head; -inf behind its own tokens",
    "history": "frames before the new ones that are heard for their positions, at the end of those",
    "cache": "keys and values of kept frames in each layer, in any order",
    "filled": "places of the cache that hold something, from its beginning",
    "update": "keys and values of the new frames, as in the cache",
    "logits": "score of each token before log-softmax; meaningless behind a row's length",
}
_NAMES = {value: name for name, value in DTYPES.items()}


def tensors(graph: GraphBuilder) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the manifest entries of a graph's inputs and outputs."""
    return tuple(map(_tensor, graph.inputs)), tuple(map(_tensor, graph.outputs))


def _tensor(value: ValueInfoProto) -> Tensor:
    kind: TensorProto = value.type.tensor_type
    shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
    return Tensor(
        name=value.name, dtype=_NAMES[kind.elem_type], shape=shape, meaning=MEANINGS[value.name]
    )
