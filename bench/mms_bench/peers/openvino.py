"""OpenVINO on the graph that torch.onnx exported."""

from pathlib import Path
from typing import Any

from mms_bench.errors import Skipped
from mms_bench.peers.base import Setup, versions
from mms_bench.peers.onnx import EXPORTS, OneLanguage, cached, exported_graph
from mms_engine.types import Float32Array

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""Precision of what is not in 8 bits."""
_GROUP = 128
"""Activations that have a scale of their own where products take 8-bit integers."""


class OpenVino(OneLanguage):
    """The graph compiled for latency, in fp32 or in bf16, its default where there is bfloat16."""

    packages: tuple[str, ...] = ("openvino", *EXPORTS)
    imports: tuple[str, ...] = ("openvino",)

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def build(self, setup: Setup) -> None:
        """Export the graph."""
        import openvino

        abilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if self.precision == "bf16" and "BF16" not in abilities:
            raise Skipped("this processor has no bfloat16 instructions")
        self._graph(setup)

    def load(self, setup: Setup) -> None:
        """Read and compile the graph."""
        import openvino

        core = openvino.Core()
        options = {
            "INFERENCE_NUM_THREADS": setup.threads,
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            **self._options(),
        }
        self._model = core.compile_model(core.read_model(self._graph(setup)), "CPU", options)
        self.language = setup.languages[0]

    def run(self, audio: Float32Array) -> Float32Array:
        """Return logits."""
        logits: Float32Array = self._model({"audio": audio})[0]
        return logits

    def _graph(self, setup: Setup) -> Path:
        return exported_graph(setup)

    def _options(self) -> dict[str, Any]:
        return {}


class OpenVinoInt8(OpenVino):
    """The graph with 8-bit weights, and activations quantised as they come.

    OpenVINO quantises activations only where the processor multiplies 8-bit integers (VNNI or AMX);
    elsewhere it widens the weights.
    """

    packages = ("nncf", *OpenVino.packages)
    imports = ("nncf", *OpenVino.imports)

    def __init__(self) -> None:
        super().__init__("int8")

    def _graph(self, setup: Setup) -> Path:
        def compress(folder: Path) -> None:
            import nncf
            import openvino

            model = openvino.Core().read_model(exported_graph(setup))
            mode = nncf.CompressWeightsMode.INT8_SYM
            openvino.save_model(nncf.compress_weights(model, mode=mode), folder / "model.xml")

        made_by = versions("nncf", "openvino", *EXPORTS)
        return cached(setup, "openvino-int8", made_by, compress, "model.xml")

    def _options(self) -> dict[str, Any]:
        return {"DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP}
