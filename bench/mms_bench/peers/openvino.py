"""OpenVINO on the graph that torch.onnx exported."""

from typing import Any

from mms_bench.errors import NotHere
from mms_bench.peers.base import Batch, Setup, single_language
from mms_bench.peers.installed import versions
from mms_bench.peers.onnx import EXPORTS, build_graph
from mms_engine.types import Float32Array


class OpenVino:
    """Compiled for the processor, for latency.

    In float32, and as `openvino-bf16` in what is OpenVINO's own choice on a processor that has
    bfloat16 instructions.
    """

    def __init__(self, precision: str = "fp32") -> None:
        self.name = "openvino" if precision == "fp32" else f"openvino-{precision}"
        self.precision = precision
        self._model: Any = None
        self._language = ""

    def version(self) -> dict[str, str]:
        """Return the versions of OpenVINO and of what exports."""
        found = versions("openvino", *EXPORTS)
        import openvino  # noqa: F401

        return found

    def build(self, setup: Setup) -> None:
        """Export the graph."""
        import openvino

        abilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if self.precision == "bf16" and "BF16" not in abilities:
            raise NotHere("this processor has no bfloat16 instructions")
        build_graph(setup)

    def prepare(self, setup: Setup) -> None:
        """Read and compile the graph."""
        import openvino

        core = openvino.Core()
        options = {
            "INFERENCE_NUM_THREADS": setup.threads,
            "INFERENCE_PRECISION_HINT": "f32" if self.precision == "fp32" else "bf16",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._model = core.compile_model(core.read_model(build_graph(setup)), "CPU", options)
        self._language = setup.languages[0]

    def run(self, batch: Batch) -> list[Float32Array]:
        """Return logits of a batch in the language that was baked in."""
        language = single_language(batch)
        if language != self._language:
            raise NotHere("has one language baked in: each language is an export of its own")
        return list(self._model({"audio": batch.audio})[0])
