"""Models of Triton's Python backend, which host the engine (`mms_engine.triton`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mms_export.triton.config import MAX_BATCH, QUEUE_MICROSECONDS, Name, parameters, render

TRANSCRIBE, STREAM = "mms_transcribe", "mms_stream"
MAX_SEQUENCES = 1024
IDLE_SECONDS = 60
"""Pause after which a sequence is given up."""
_BYTES, _FLOAT = Name("TYPE_STRING"), Name("TYPE_FP32")
_CODE = '''"""Model of Triton's Python backend: {what}."""

from mms_engine.triton.{module} import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


def _transcribe(name: str, bundle: Path) -> tuple[str, str]:
    """Return the configuration and the code of the model of recordings."""
    fields: dict[str, Any] = {
        "name": name,
        "backend": "python",
        "max_batch_size": MAX_BATCH,
        "input": [_tensor("audio", _BYTES), _tensor("language", _BYTES)],
        "output": [_tensor(name, _BYTES) for name in ("text", "words", "language")],
        "dynamic_batching": {"max_queue_delay_microseconds": QUEUE_MICROSECONDS},
    }
    what = "recordings of any languages, transcribed in common batches"
    return _hosted(fields, bundle), _CODE.format(what=what, module="transcribe")


def _stream(name: str, bundle: Path) -> tuple[str, str]:
    """Return the configuration and the code of the model of streams."""
    kinds = ("START", "END", "READY")
    controls = [
        _control(kind, {"kind": Name(f"CONTROL_SEQUENCE_{kind}"), "int32_false_true": [0, 1]})
        for kind in kinds
    ]
    number = {"kind": Name("CONTROL_SEQUENCE_CORRID"), "data_type": Name("TYPE_UINT64")}
    audio = _tensor("audio", _FLOAT) | {"dims": [-1], "allow_ragged_batch": True}
    fields: dict[str, Any] = {
        "name": name,
        "backend": "python",
        "max_batch_size": MAX_BATCH,
        "input": [audio, _tensor("language", _BYTES) | {"optional": True}],
        "output": [_tensor("event", _BYTES)],
        "model_transaction_policy": {"decoupled": True},
        "sequence_batching": {
            "max_sequence_idle_microseconds": IDLE_SECONDS * 1_000_000,
            "control_input": [*controls, _control("CORRID", number)],
            "oldest": {"max_candidate_sequences": MAX_SEQUENCES},
        },
    }
    what = "live streams, a sequence each, computed in common batches"
    return _hosted(fields, bundle), _CODE.format(what=what, module="stream")


HOSTED: dict[str, Callable[[str, Path], tuple[str, str]]] = {
    TRANSCRIBE: _transcribe,
    STREAM: _stream,
}
"""Functions that return the configuration and the code of each model, given its name."""


def _tensor(name: str, kind: Name) -> dict[str, Any]:
    return {"name": name, "data_type": kind, "dims": [1]}


def _control(name: str, control: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "control": [control]}


def _hosted(fields: dict[str, Any], bundle: Path) -> str:
    # One instance: the engine batches by itself, and another would hold the model again.
    instance = {"count": 1, "kind": Name("KIND_MODEL")}
    given = parameters({"bundle": str(bundle), "device": "auto"})
    return render(fields | {"instance_group": [instance], "parameters": given})
