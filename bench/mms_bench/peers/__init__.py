"""The implementations that can be measured, by name. Each is imported only when it is asked for."""

from collections.abc import Callable

from mms_bench.peers.base import Peer
from mms_engine.bundle.schema import Precision

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
}


def holds_many(name: str) -> bool:
    """Say whether an implementation holds several languages at once."""
    return name.startswith("ours-")


def create_peer(name: str) -> Peer:
    """Return the implementation called `name`, nothing loaded yet."""
    return PEERS[name]()
