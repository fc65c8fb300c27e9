"""The implementations that can be measured, by name. Each is imported only when it is asked for."""

from collections.abc import Callable

from mms_bench.peers.base import Peer
from mms_bench.peers.decoder import Decoder
from mms_engine.types import Precision

REFERENCE = "transformers"


def _transformers(precision: str) -> Callable[[], Peer]:
    def create() -> Peer:
        from mms_bench.peers.transformers import Transformers

        return Transformers(precision)

    return create


def _onnx() -> Peer:
    from mms_bench.peers.onnx import PlainOnnx

    return PlainOnnx()


def _onnx_int8() -> Peer:
    from mms_bench.peers.onnx import PlainOnnxInt8

    return PlainOnnxInt8()


def _openvino(precision: str) -> Callable[[], Peer]:
    def create() -> Peer:
        from mms_bench.peers.openvino import OpenVino

        return OpenVino(precision)

    return create


def _ours(precision: Precision) -> Callable[[], Peer]:
    def create() -> Peer:
        from mms_bench.peers.ours import Ours

        return Ours(precision)

    return create


PEERS: dict[str, Callable[[], Peer]] = {
    REFERENCE: _transformers("fp32"),
    "transformers-bf16": _transformers("bf16"),
    "onnx": _onnx,
    "onnx-int8": _onnx_int8,
    "openvino": _openvino("fp32"),
    "openvino-bf16": _openvino("bf16"),
    "ours-fp32": _ours("fp32"),
    "ours-int8": _ours("int8"),
    "ours-fp16": _ours("fp16"),
    "ours-bf16": _ours("bf16"),
}
ON_CUDA = (REFERENCE, "transformers-bf16", "onnx", "ours-fp32", "ours-fp16", "ours-bf16")
"""Those that can run on a GPU."""


def _kernels(isa: str) -> Callable[[], Decoder]:
    def create() -> Decoder:
        from mms_bench.peers.kernels import Kernels

        return Kernels(isa)

    return create


def _fast_ctc_decode() -> Decoder:
    from mms_bench.peers.fast_ctc_decode import FastCtcDecode

    return FastCtcDecode()


def _flashlight() -> Decoder:
    from mms_bench.peers.flashlight import Flashlight

    return Flashlight()


def _pyctcdecode() -> Decoder:
    from mms_bench.peers.pyctcdecode import PyCtcDecode

    return PyCtcDecode()


def _torchaudio() -> Decoder:
    from mms_bench.peers.torchaudio import Torchaudio

    return Torchaudio()


def _numpy() -> Decoder:
    from mms_bench.peers.numpy_argmax import NumpyArgmax

    return NumpyArgmax()


OURS = tuple(f"ours-{isa}" for isa in ("avx2", "avx512", "neon", "scalar"))
DECODERS: dict[str, Callable[[], Decoder]] = {
    **{name: _kernels(name.removeprefix("ours-")) for name in OURS},
    "fast-ctc-decode": _fast_ctc_decode,
    "flashlight-text": _flashlight,
    "pyctcdecode": _pyctcdecode,
    "torchaudio": _torchaudio,
    "numpy": _numpy,
}


def holds_many(name: str) -> bool:
    """Say whether an implementation holds several languages at once."""
    return name.startswith("ours-")


def create_peer(name: str) -> Peer | Decoder:
    """Return the implementation called `name`, nothing loaded yet."""
    return DECODERS[name]() if name in DECODERS else PEERS[name]()
