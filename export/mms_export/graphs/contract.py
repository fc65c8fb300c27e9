"""Graph files of a bundle: names, and manifest entries of inputs and outputs."""

from pathlib import Path
from typing import NamedTuple, Self

from onnx import TensorProto, ValueInfoProto

from mms_engine.bundle.manifest import Graph, Plan, Tensor
from mms_engine.types import Precision
from mms_export.graphs.builder import DTYPES, GraphBuilder

_KEY_DIGITS = 12
"""Digits of a key of `Manifest.models` in the names of files."""


class GraphKey(NamedTuple):
    """Identity of a graph in a bundle."""

    name: str
    precision: Precision
    model: str = ""
    """Key in `Manifest.models`; empty for `Manifest.model`."""

    @classmethod
    def of(cls, part: Graph | Plan) -> Self:
        """Return the identity of a graph, or of that from which a plan was built."""
        name = part.name if isinstance(part, Graph) else part.graph
        return cls(name, part.precision, part.model)

    @property
    def label(self) -> str:
        """Beginning of the names of its files, and name for display."""
        return ".".join(filter(None, (self.name, self.model[:_KEY_DIGITS], self.precision)))


MEANINGS = {
    "audio": "normalised samples, padded with zeros",
    "features": "output of the graph before; beyond a row's length without effect",
    "lengths": "valid frames or tokens of each row",
    "slot": "adapter bank slot of each row",
    "adapters": "adapter weights, one language per slot, as in the adapter files",
    "pages": "pages of each row's head; 0, without tokens, behind them",
    "head_weight": "head weights, 64 tokens of a language per page; zero beyond its vocabulary",
    "head_bias": "head biases, as head_weight; -inf beyond the vocabulary",
    "history": "valid frames before the new ones, used by the positional convolution only",
    "keys": "keys of earlier frames in the layer of this number, in any order",
    "values": "values of earlier frames in the layer of this number, in the order of its keys",
    "filled": "valid frames of the cache, from its first",
    "keep": "indices of the new frames whose keys and values are returned, of all rows",
    "new_keys": "keys of the new frames to keep, laid out as the cache",
    "new_values": "values of the new frames to keep, laid out as the cache",
    "scores": "label scores before softmax, of the mean over a row's length",
    "hidden": "hidden states of the last layer, behind the final layer norm; undefined beyond a "
    "row's length",
    "ids": "token ids; those beyond a row's length have no effect",
    "duration_noise": "normal noise times the scale of the durations' noise",
    "means": "means of the prior at each token",
    "log_scales": "natural logarithm of the prior's standard deviations at each token",
    "log_durations": "natural logarithm of each token's frames; 0 beyond a row's length",
    "latents": "sample of the prior at each frame; beyond a row's length without effect",
    "valid": "first valid step of each row, and the one behind its last",
    "samples": "samples in [-1, 1]; undefined outside the valid steps",
    "logits": "token scores before log-softmax; undefined beyond a row's length",
}
WEIGHT = "weight of the voice, as in the voice files"
_NAMES = {value: name for name, value in DTYPES.items()}


def graph_path(folder: Path, name: str, precision: Precision, model: str = "") -> Path:
    """Return the path of a graph in a bundle."""
    return folder / "graphs" / f"{GraphKey(name, precision, model).label}.onnx"


def tensors(graph: GraphBuilder) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the manifest entries of a graph's inputs and outputs."""
    return tuple(map(_tensor, graph.inputs)), tuple(map(_tensor, graph.outputs))


def _tensor(value: ValueInfoProto) -> Tensor:
    kind: TensorProto = value.type.tensor_type
    shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
    return Tensor(
        name=value.name,
        dtype=_NAMES[kind.elem_type],
        shape=shape,
        meaning=MEANINGS.get(value.name.partition(".")[0], WEIGHT),
    )
