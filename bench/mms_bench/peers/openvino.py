"""OpenVINO on the graph that torch.onnx exported."""

from mms_bench.errors import Skipped
from mms_bench.peers.base import Setup
from mms_bench.peers.onnx import EXPORTS, OneLanguage, exported_graph
from mms_engine.types import Float32Array


class OpenVino(OneLanguage):
    """The graph compiled for latency, in fp32 or in bf16, its default where there is bfloat16."""

    packages = ("openvino", *EXPORTS)
    imports = ("openvino",)

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def build(self, setup: Setup) -> None:
        """Export the graph."""
        import openvino

        abilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if self.precision == "bf16" and "BF16" not in abilities:
            raise Skipped("this processor has no bfloat16 instructions")
        exported_graph(setup)

    def load(self, setup: Setup) -> None:
        """Read and compile the graph."""
        import openvino

        core = openvino.Core()
        options = {
            "INFERENCE_NUM_THREADS": setup.threads,
            "INFERENCE_PRECISION_HINT": "f32" if self.precision == "fp32" else "bf16",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._model = core.compile_model(core.read_model(exported_graph(setup)), "CPU", options)
        self.language = setup.languages[0]

    def run(self, audio: Float32Array) -> Float32Array:
        """Return logits."""
        logits: Float32Array = self._model({"audio": audio})[0]
        return logits
