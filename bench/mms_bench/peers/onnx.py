"""transformers' model exported by torch.onnx and run by ONNX Runtime.

One language is baked in. The graph is cached, because the export takes minutes. As a command,
`python -m mms_bench.peers.onnx CHECKPOINT LANG OUT` exports the graph to a folder.
"""

import contextlib
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mms_bench.errors import Skipped
from mms_bench.peers.base import Batch, Peer, Ready, Setup, Switch, single_language, versions
from mms_engine.types import Float32Array

GRAPH = "model.onnx"
EXPORTS = ("onnx", "onnxscript", "torch", "transformers")
"""Packages that the exported graph depends on."""


class OneLanguage(Peer):
    """Base class of peers with one language baked in to their graph."""

    language = ""

    def run(self, audio: Float32Array) -> Float32Array:
        """Return logits `[B, T, V]` of samples `[B, N]`."""
        raise NotImplementedError

    def ready(self, work: Batch | Switch) -> Ready:
        """Prepare a batch in the language of the graph."""
        if isinstance(work, Switch) or single_language(work) != self.language:
            raise Skipped("has one language baked in: each language needs an export of its own")
        return Ready(lambda: self.run(work.audio), list)


class PlainOnnx(OneLanguage):
    """The exported graph in float32."""

    packages = ("onnxruntime", *EXPORTS)
    imports = ("onnxruntime",)

    def build(self, setup: Setup) -> None:
        """Export the graph."""
        self._graph(setup)

    def load(self, setup: Setup) -> None:
        """Open a session."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setup.threads
        wanted = ["CPUExecutionProvider"]
        if setup.device == "cuda":
            wanted.insert(0, "CUDAExecutionProvider")
            onnxruntime.preload_dlls()
        session = onnxruntime.InferenceSession(self._graph(setup), options, providers=wanted)
        if session.get_providers()[0] != wanted[0]:
            raise Skipped(f"this ONNX Runtime could not use {wanted[0]}")
        self._session, self.language = session, setup.languages[0]

    def run(self, audio: Float32Array) -> Float32Array:
        """Return logits."""
        logits: Float32Array = self._session.run(["logits"], {"audio": audio})[0]
        return logits

    def _graph(self, setup: Setup) -> Path:
        return exported_graph(setup)


class PlainOnnxInt8(PlainOnnx):
    """The same graph after ONNX Runtime's `quantize_dynamic`.

    Matrix products only, per channel: quantised convolutions, the default, are slower and less
    exact.
    """

    precision = "int8"

    def _graph(self, setup: Setup) -> Path:
        def quantise(folder: Path) -> None:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantize_dynamic(
                exported_graph(setup),
                folder / GRAPH,
                per_channel=True,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul"],
                use_external_data_format=True,
            )

        return cached(setup, "onnx-int8", versions("onnxruntime", *EXPORTS), quantise)


def exported_graph(setup: Setup) -> Path:
    """Return the path of the exported graph, exporting it if it is not cached."""
    return cached(setup, "onnx", versions(*EXPORTS), lambda folder: export_graph(setup, folder))


def export_graph(setup: Setup, folder: Path) -> None:
    """Export transformers' model with the setup's first language to `folder`."""
    import torch

    from mms_bench.peers.transformers import load_model

    class Logits(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(audio).logits
            return logits

    torch.onnx.export(
        Logits(load_model(setup).cpu()).eval(),
        (torch.zeros(1, 16000),),
        folder / GRAPH,
        dynamo=True,
        external_data=True,
        input_names=["audio"],
        output_names=["logits"],
        dynamic_shapes={"audio": {1: torch.export.Dim("samples", min=1600)}},
        verbose=False,
    )


def cached(
    setup: Setup,
    kind: str,
    made_by: dict[str, str],
    make: Callable[[Path], None],
    name: str = GRAPH,
) -> Path:
    """Return the cached graph of a kind for a checkpoint and a language.

    If there is none, `make` writes it into a folder under its name; `made_by` holds the versions
    that it depends on.
    """
    newest = max(path.stat().st_mtime_ns for path in setup.checkpoint.iterdir())
    identity = repr((setup.checkpoint, newest, setup.languages[0], sorted(made_by.items())))
    folder = setup.cache / f"{kind}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    if not (folder / name).is_file():
        setup.cache.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=setup.cache))
        try:
            make(partial)
            with contextlib.suppress(OSError):  # another process was faster
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder / name


def _main(checkpoint: str, language: str, out: str) -> None:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    languages = (language,)
    setup = Setup(
        checkpoint=Path(checkpoint), bundle=None, cache=folder, languages=languages, threads=0
    )
    export_graph(setup, folder)


if __name__ == "__main__":
    _main(*sys.argv[1:])
