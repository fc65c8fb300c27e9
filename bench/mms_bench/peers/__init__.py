"""Implementations that can be measured, by name. Each is imported when it is created."""

import importlib
from dataclasses import dataclass

from mms_bench.errors import Skipped
from mms_bench.peers.base import Peer, versions

REFERENCE = "transformers"


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """Table entry of a peer."""

    title: str
    """Name in reports."""
    factory: str
    """Module and class, e.g. `mms_bench.peers.numpy:NumpyArgmax`."""
    argument: str = ""

    def create(self) -> tuple[Peer, dict[str, str]]:
        """Import what a peer needs; return it, with nothing loaded yet, and versions by package."""
        module, _, name = self.factory.partition(":")
        factory = getattr(importlib.import_module(module), name)
        found = versions(*factory.packages)
        try:
            for needed in factory.imports:
                importlib.import_module(needed)
        except ImportError as error:
            raise Skipped(f"{error.name} is not installed") from error
        except OSError as error:
            raise Skipped(f"{needed} does not load: {error.__cause__ or error}") from error
        return factory(self.argument) if self.argument else factory(), found


def _peer(title: str, factory: str, argument: str = "") -> PeerEntry:
    return PeerEntry(title, f"mms_bench.peers.{factory}", argument)


_ORT = "torch.onnx + ONNX Runtime"
RECOGNISERS = {
    REFERENCE: _peer("transformers (PyTorch, fp32)", "transformers:Transformers", "fp32"),
    "transformers-bf16": _peer("transformers (PyTorch, bf16)", "transformers:Transformers", "bf16"),
    "transformers-int8": _peer(
        "transformers (PyTorch, quantize_dynamic, int8)", "transformers:TransformersInt8"
    ),
    "onnx": _peer(f"{_ORT} (fp32)", "onnx:PlainOnnx"),
    "onnx-int8": _peer(f"{_ORT}, quantize_dynamic (int8)", "onnx:PlainOnnxInt8"),
    "openvino": _peer("OpenVINO (fp32)", "openvino:OpenVino", "fp32"),
    "openvino-bf16": _peer("OpenVINO (bf16)", "openvino:OpenVino", "bf16"),
    "openvino-int8": _peer("OpenVINO (8-bit weights)", "openvino:OpenVinoInt8"),
    "ours-fp32": _peer("MMS Engine (fp32)", "engine:Engine", "fp32"),
    "ours-int8": _peer("MMS Engine (int8)", "engine:Engine", "int8"),
    "ours-fp16": _peer("MMS Engine (fp16)", "engine:Engine", "fp16"),
    "ours-bf16": _peer("MMS Engine (bf16)", "engine:Engine", "bf16"),
}
ON_CUDA = (REFERENCE, "transformers-bf16", "onnx", "ours-fp32", "ours-fp16", "ours-bf16")
"""Recognisers that can run on a GPU."""
KERNELS = {
    "ours-avx2": _peer("MMS Engine (avx2)", "kernels:Kernels", "avx2"),
    "ours-avx512": _peer("MMS Engine (avx512)", "kernels:Kernels", "avx512"),
    "ours-neon": _peer("MMS Engine (neon)", "kernels:Kernels", "neon"),
    "ours-scalar": _peer("MMS Engine (scalar)", "kernels:Kernels", "scalar"),
}
"""This project's CTC kernels, by instruction set."""
DECODERS = {
    **KERNELS,
    "fast-ctc-decode": _peer("fast-ctc-decode", "fast_ctc_decode:FastCtcDecode"),
    "flashlight-text": _peer("flashlight-text", "flashlight:Flashlight"),
    "torchaudio": _peer("torchaudio forced_align", "torchaudio:Torchaudio"),
    "numpy": _peer("NumPy argmax", "numpy:NumpyArgmax"),
}
SYNTHESIZERS = {
    REFERENCE: _peer("transformers (PyTorch, fp32)", "voices:TransformersVoices"),
    "sherpa-onnx": _peer("sherpa-onnx (fp32)", "voices:SherpaOnnx"),
    "ours-fp32": _peer("MMS Engine (fp32)", "voices:EngineVoices", "fp32"),
    "ours-int8": _peer("MMS Engine (int8)", "voices:EngineVoices", "int8"),
}
TRANSCRIBERS = {
    "ours-fp32": _peer("MMS Engine (fp32)", "transcribers:EngineText", "fp32"),
    "ours-int8": _peer("MMS Engine (int8)", "transcribers:EngineText", "int8"),
    "ours-fp16": _peer("MMS Engine (fp16)", "transcribers:EngineText", "fp16"),
    "ours-bf16": _peer("MMS Engine (bf16)", "transcribers:EngineText", "bf16"),
    REFERENCE: _peer("transformers (PyTorch, fp32)", "transcribers:TransformersText"),
    "faster-whisper": _peer("faster-whisper", "transcribers:FasterWhisper"),
}
MACHINE = "machine"
"""Bounds of the machine, measured as the peers are."""
PEERS = {MACHINE: _peer("this machine", "machine:Machine")}
PEERS |= SYNTHESIZERS | TRANSCRIBERS | RECOGNISERS | DECODERS
"""All, for their titles: a name may stand for a recogniser and a synthesizer of one project."""


def is_ours(name: str) -> bool:
    """Return whether an implementation is this project's."""
    return name.startswith("ours")
