"""Finds its way in an encoder graph: which part of the network a tensor belongs to."""

import re
from collections.abc import Iterable

from onnx import GraphProto, NodeProto

_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")
_WRITES = re.compile(r"\.(attention\.out_proj|feed_forward\.output_dense)\.(weight|bias)$")
KINDS = ("stream", "added", "feed-forward", "scores", "operands")
"""What is told apart in a layer: the residual stream; what attention, feed-forward and adapter add
to it; the wide activations after GELU; the scores before softmax; the rounded layer norms."""


def names(graph: GraphProto) -> dict[str, str]:
    """Return, by the name of a node, what it computes: the nearest weight's name and its operator.

    A node without a weight of its own goes by the part of the node that feeds it.
    """
    weights = {tensor.name for tensor in graph.initializer}
    weights = {name for name in weights if not name.startswith("constant_")}
    part_of: dict[str, str] = {value.name: value.name for value in graph.input}
    found = {}
    for node in graph.node:
        own = [name.rpartition(".")[0] for name in node.input if name in weights]
        fed = [part_of[name] for name in node.input if name in part_of]
        part = (own or fed or [node.op_type])[-1]
        part_of.update(dict.fromkeys(node.output, part))
        found[node.name] = f"{part} {node.op_type}"
    return found


def stream(graph: GraphProto) -> list[str]:
    """Return the residual stream in order: what each layer norm after the projection takes."""
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    return [node.input[0] for node in norms[1:]]


def kinds(graph: GraphProto) -> dict[str, tuple[int, str]]:
    """Return layer (from 0) and kind of the tensors of an fp32 encoder that `KINDS` names."""
    stream_names = set(stream(graph))
    found: dict[str, tuple[int, str]] = {}
    layer, norms = -1, 0
    for node in graph.node:
        numbers = [match[1] for name in node.input if (match := _LAYER.match(name))]
        layer = int(numbers[0]) if numbers else layer
        if node.op_type == "LayerNormalization":
            norms += 1
            # Three a layer after the projection's: attention, feed-forward, adapter.
            found[node.output[0]] = ((norms - 2) // 3, "operands")
        elif stream_names.intersection(node.output) and layer >= 0:
            found[node.output[0]] = (layer, "stream")
            found |= dict.fromkeys(set(node.input) - stream_names, (layer, "added"))
        elif node.op_type == "Gelu" and layer >= 0:
            found[node.output[0]] = (layer, "feed-forward")
        elif node.op_type == "Softmax":
            found[node.input[0]] = (layer, "scores")
    count = layer + 1
    return {name: place for name, place in found.items() if 0 <= place[0] < count}


def stream_gains(graph: GraphProto, gain: float) -> dict[str, float]:
    """Return the factors that multiply the whole residual stream of an encoder by `gain`.

    The stream as it starts, and all that is added to it: the weights and biases of `out_proj` and
    `output_dense`, and the adapters' second matrices. Each layer norm divides by the size of its
    input, so that the logits stay what they were, but for the epsilon inside it.
    """
    weights = [tensor.name for tensor in graph.initializer if _WRITES.search(tensor.name)]
    adapters = _split_of(graph.node, "adapters")
    ups = [name for index, name in enumerate(adapters.output) if index % 4 in (2, 3)]
    return dict.fromkeys([stream(graph)[0], *weights, *ups], gain)


def _split_of(nodes: Iterable[NodeProto], source: str) -> NodeProto:
    """Return the node that takes apart the gathered rows of an input."""
    rows = ""
    for node in nodes:
        if node.op_type == "Gather" and node.input[0] == source:
            rows = node.output[0]
        elif node.op_type == "Split" and node.input[0] == rows:
            return node
    raise ValueError(f"the graph does not split {source}: it is not an encoder of this exporter")
