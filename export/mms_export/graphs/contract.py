"""Graph files of a bundle: names, and manifest entries of inputs and outputs."""

from pathlib import Path

from onnx import TensorProto, ValueInfoProto

from mms_engine.bundle.manifest import Tensor
from mms_engine.types import Precision
from mms_export.graphs.builder import DTYPES, GraphBuilder

GraphKey = tuple[str, Precision]
"""Name and precision of a graph."""

MEANINGS = {
    "audio": "normalised samples, padded with zeros",
    "features": "frontend output; frames beyond a row's length have no effect",
    "lengths": "valid frames of each row",
    "slot": "adapter bank slot of each row",
    "adapters": "adapter weights, one language per slot, as in the adapter files",
    "head_weight": "head weights of each language; zero beyond its vocabulary",
    "head_bias": "head biases of each language; -inf beyond its vocabulary",
    "history": "valid frames before the new ones, used by the positional convolution only",
    "cache": "keys and values of earlier frames in each layer, in any order",
    "filled": "valid frames of the cache, from its first",
    "update": "keys and values of the new frames, laid out as the cache",
    "scores": "label scores before softmax, of the mean over a row's length",
    "hidden": "hidden states of the last layer, behind the final layer norm; undefined beyond a "
    "row's length",
    "logits": "token scores before log-softmax; undefined beyond a row's length",
}
_NAMES = {value: name for name, value in DTYPES.items()}


def graph_path(folder: Path, name: str, precision: Precision) -> Path:
    """Return the path of a graph in a bundle."""
    return folder / "graphs" / f"{name}.{precision}.onnx"


def tensors(graph: GraphBuilder) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the manifest entries of a graph's inputs and outputs."""
    return tuple(map(_tensor, graph.inputs)), tuple(map(_tensor, graph.outputs))


def _tensor(value: ValueInfoProto) -> Tensor:
    kind: TensorProto = value.type.tensor_type
    shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
    return Tensor(
        name=value.name, dtype=_NAMES[kind.elem_type], shape=shape, meaning=MEANINGS[value.name]
    )
