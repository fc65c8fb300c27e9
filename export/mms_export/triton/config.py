"""Model configurations of Triton, `config.pbtxt`, in the text format of protocol buffers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mms_engine.bundle.manifest import Graph, Profile, Tensor

MARK = "# Written by mms-export --triton.\n"
"""First line of every configuration: `mms-export` replaces models that begin with it."""
MAX_BATCH = 32
QUEUE_MICROSECONDS = 5000
"""Longest time that a request waits for others to share its batch."""
_TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "int64": "TYPE_INT64",
}


class Name(str):
    """Value of an enumeration, which is written without quotes."""

    __slots__ = ()


def render(fields: Mapping[str, Any]) -> str:
    """Return a configuration as text; mappings are messages, sequences repeated fields."""
    return MARK + "\n".join(_lines(fields)) + "\n"


def _lines(fields: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in fields.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, Mapping):
                yield f"{indent}{name} {{"
                yield from _lines(one, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(one)}"


def _scalar(value: object) -> str:
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False)


def string(value: str) -> dict[str, str]:
    """Return the value of a parameter."""
    return {"string_value": value}


def parameters(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the parameters of a model."""
    return [{"key": key, "value": string(value)} for key, value in values.items()]


def tensors(entries: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Return the inputs or outputs of a graph, without their batch dimension."""
    return [_tensor(entry) for entry in entries]


def _tensor(entry: Tensor) -> dict[str, Any]:
    dims = [-1 if isinstance(size, str) else size for size in entry.shape[1:]]
    field: dict[str, Any] = {"name": entry.name, "data_type": Name(_TYPES[entry.dtype])}
    if dims:
        return field | {"dims": dims}
    # Triton has no tensors of shape [batch]: a request has [1], the graph takes it without.
    return field | {"dims": [1], "reshape": {}}


def graph_config(name: str, graph: Graph, profiles: Sequence[Profile] | None) -> str:
    """Return the configuration of a graph whose requests are batched.

    Args:
        name: Name of the model.
        graph: Entry of the graph.
        profiles: Optimisation profiles of its TensorRT plan; `None` for ONNX.
    """
    fields: dict[str, Any] = {
        "name": name,
        "backend": "onnxruntime" if profiles is None else "tensorrt",
        "max_batch_size": MAX_BATCH,
        "input": tensors(graph.inputs),
        "output": tensors(graph.outputs),
        "dynamic_batching": {"max_queue_delay_microseconds": QUEUE_MICROSECONDS},
    }
    if profiles is not None:
        fields |= _served(profiles)
    return render(fields)


def _served(profiles: Sequence[Profile]) -> dict[str, Any]:
    """Return the profiles that Triton chooses from, and the largest batch of all of them.

    Those of few rows, for long audio, would limit the others, and are left out.
    """
    rows = [next(iter(profile.shapes.values())).max[0] for profile in profiles]
    least = min(MAX_BATCH, max(rows))
    chosen = [str(index) for index, most in enumerate(rows) if most >= least]
    instance = {"kind": Name("KIND_GPU"), "profile": chosen}
    return {"max_batch_size": least, "instance_group": [instance]}
