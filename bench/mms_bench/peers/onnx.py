"""What people do today: transformers' model through torch.onnx, run by ONNX Runtime.

One language is baked in. The graph is kept in the cache, for it takes minutes to make.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mms_bench.errors import NotHere
from mms_bench.peers.base import Batch, Setup, single_language
from mms_bench.peers.installed import versions
from mms_engine.types import Float32Array

GRAPH = "model.onnx"
PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}
EXPORTS = ("onnx", "onnxscript", "torch", "transformers")


class PlainOnnx:
    """The exported graph as it is, in float32."""

    name = "onnx"
    precision = "fp32"

    def __init__(self) -> None:
        self._session: Any = None
        self._language = ""

    def version(self) -> dict[str, str]:
        """Return the versions of what exports and of what runs."""
        found = versions("onnxruntime", *EXPORTS)
        import onnxruntime  # noqa: F401

        return found

    def build(self, setup: Setup) -> None:
        """Export the graph."""
        build_graph(setup)

    def prepare(self, setup: Setup) -> None:
        """Open a session on the setup's threads."""
        self._open(build_graph(setup), setup)

    def run(self, batch: Batch) -> list[Float32Array]:
        """Return logits of a batch in the language that was baked in."""
        language = single_language(batch)
        if language != self._language:
            raise NotHere("has one language baked in: each language is an export of its own")
        logits = self._session.run(["logits"], {"audio": batch.audio})[0]
        return list(logits)

    def _open(self, graph: Path, setup: Setup) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setup.threads
        wanted = PROVIDERS[setup.device]
        if setup.device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        self._session = onnxruntime.InferenceSession(graph, options, providers=wanted)
        if self._session.get_providers()[0] != wanted[0]:
            raise NotHere(f"this ONNX Runtime could not use {wanted[0]}")
        self._language = setup.languages[0]


class PlainOnnxInt8(PlainOnnx):
    """The same graph after ONNX Runtime's own `quantize_dynamic`.

    Only matrix products, per channel: with the convolutions quantised too (the default) it is
    both slower and less exact.
    """

    name = "onnx-int8"
    precision = "int8"

    def build(self, setup: Setup) -> None:
        """Export the graph and quantise it."""
        self._graph(setup)

    def prepare(self, setup: Setup) -> None:
        """Open a session on the setup's threads."""
        self._open(self._graph(setup), setup)

    def _graph(self, setup: Setup) -> Path:
        def quantise(folder: Path) -> None:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            source = build_graph(setup)
            quantize_dynamic(
                source,
                folder / GRAPH,
                per_channel=True,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul"],
                use_external_data_format=True,
            )

        return cached(setup, "onnx-int8", versions("onnxruntime", *EXPORTS), quantise)


def build_graph(setup: Setup) -> Path:
    """Return the path of the exported graph, made now or before."""
    return cached(setup, "onnx", versions(*EXPORTS), lambda folder: export_graph(setup, folder))


def export_graph(setup: Setup, folder: Path) -> None:
    """Export transformers' model with the setup's first language to `folder`."""
    import torch

    from mms_bench.peers.transformers import load_model

    class Logits(torch.nn.Module):
        """Leaves one input and one output."""

        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(audio).logits
            return logits

    torch.onnx.export(
        Logits(load_model(setup)).eval(),
        (torch.zeros(1, 16000),),
        folder / GRAPH,
        dynamo=True,
        external_data=True,
        input_names=["audio"],
        output_names=["logits"],
        dynamic_shapes={"audio": {1: torch.export.Dim("samples", min=1600)}},
        verbose=False,
    )


def cached(setup: Setup, kind: str, made_by: dict[str, str], make: Callable[[Path], None]) -> Path:
    """Return the graph in the cache folder of this checkpoint, language, kind and versions.

    Args:
        setup: Checkpoint, language and cache.
        kind: Name of the folder.
        made_by: Versions on which the content depends.
        make: Writes the graph into the folder it is given; called if there is none.
    """
    folder = Path(setup.cache) / f"{kind}-{_fingerprint(setup, made_by)}"
    if not (folder / GRAPH).is_file():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.rename(folder)
    return folder / GRAPH


def _fingerprint(setup: Setup, made_by: dict[str, str]) -> str:
    """Tell two setups apart by names, sizes and times; reading 4 GB for it would take longer."""
    language = setup.languages[0]
    parts = [language, *(f"{name}={version}" for name, version in sorted(made_by.items()))]
    for path in sorted(Path(setup.checkpoint).resolve().iterdir()):
        stranger = path.name.startswith("adapter.") and f".{language}." not in path.name
        if stranger or not path.is_file():
            continue
        status = path.stat()
        parts.append(f"{path}:{status.st_size}:{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
