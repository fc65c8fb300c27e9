"""Sessions of ONNX Runtime on small graphs."""

import ctypes
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mms_engine.backends import ort
from mms_engine.backends.ort import OrtSession, open_cpu, open_cuda
from mms_engine.backends.session import Constant, GraphFile
from mms_engine.bundle.manifest import Graph, Tensor
from mms_engine.errors import BackendError


def gather_graph(path: Path, element: int, dtype: str) -> GraphFile:
    """rows = bank[slot] as float32: what the encoder does first with the adapter bank."""
    bank = helper.make_tensor_value_info("bank", element, ["slots", 3])
    slot = helper.make_tensor_value_info("slot", TensorProto.INT64, ["batch"])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 3])
    nodes = [
        helper.make_node("Gather", ["bank", "slot"], ["taken"], axis=0),
        helper.make_node("Cast", ["taken"], ["rows"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "gather", [bank, slot], [rows])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    entry = Graph(
        name="encoder",
        precision="fp32",
        files=(),
        opset=18,
        inputs=(
            Tensor(name="bank", dtype=dtype, shape=("slots", 3), meaning=""),
            Tensor(name="slot", dtype="int64", shape=("batch",), meaning=""),
        ),
        outputs=(Tensor(name="rows", dtype="float32", shape=("batch", 3), meaning=""),),
    )
    return GraphFile(entry, path)


@pytest.fixture
def graph(tmp_path: Path) -> GraphFile:
    return gather_graph(tmp_path / "gather.onnx", TensorProto.FLOAT, "float32")


def test_constant_is_read_in_place(graph: GraphFile) -> None:
    session = open_cpu(graph, 1)
    bank = np.zeros((4, 3), np.float32)
    constant = Constant(bank[:2], "float32", np.array([1, 1]))
    feeds = {"bank": constant, "slot": np.array([1, 0, 1])}
    assert not session.run(feeds)["rows"].any()
    bank[1] = [1, 2, 3]  # the versions are the same: a copy would not show this
    np.testing.assert_array_equal(session.run(feeds)["rows"], [[1, 2, 3], [0, 0, 0], [1, 2, 3]])


@pytest.mark.parametrize(
    ("element", "dtype", "values"),
    [
        (TensorProto.FLOAT16, "float16", np.array([[1, -2, 0.5]], np.float16)),
        (TensorProto.BFLOAT16, "bfloat16", np.array([[0x3F80, 0xC000, 0x3F00]], np.uint16)),
    ],
)
def test_half_precision_constants(
    tmp_path: Path, element: int, dtype: str, values: np.ndarray
) -> None:
    session = open_cpu(gather_graph(tmp_path / "g.onnx", element, dtype))
    feeds = {"bank": Constant(values, dtype, np.array([1])), "slot": np.array([0])}
    np.testing.assert_array_equal(session.run(feeds)["rows"], [[1, -2, 0.5]])


def test_outputs_of_earlier_runs_stay_unchanged(graph: GraphFile) -> None:
    session = open_cpu(graph)
    outputs = []
    for value in range(20):
        bank = np.full((1, 3), value, np.float32)
        outputs.append(session.run({"bank": bank, "slot": np.zeros(50, np.int64)})["rows"])
    assert [output[7, 1] for output in outputs] == list(range(20))


def test_error_quotes_feeds_that_do_not_fit(
    graph: GraphFile, capfd: pytest.CaptureFixture[str]
) -> None:
    session = open_cpu(graph)
    feeds = {"bank": np.zeros((1, 3), np.float32), "slot": np.array([5])}
    with pytest.raises(BackendError, match=r"gather\.onnx failed on cpu with bank float32\[1, 3\]"):
        session.run(feeds)
    assert capfd.readouterr().err == "", "ONNX Runtime's logger is off"


def test_file_that_is_not_a_graph_is_an_error(tmp_path: Path, graph: GraphFile) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(BackendError, match=r"ONNX Runtime cannot load .*broken\.onnx"):
        open_cpu(GraphFile(graph.graph, broken))


def test_closed_session_raises(graph: GraphFile) -> None:
    session = open_cpu(graph)
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run({})


def test_several_threads_may_run_one_session(graph: GraphFile) -> None:
    session = open_cpu(graph, 1)

    def run(value: int) -> bool:
        feeds = {"bank": np.full((2, 3), value, np.float32), "slot": np.array([1, 0])}
        return all((session.run(feeds)["rows"] == value).all() for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(4)))


@dataclass
class Offered:
    """What a session of ONNX Runtime was made with, where it has CUDA."""

    providers: list[Any]
    uses_cuda: bool = True

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"] if self.uses_cuda else ["CPUExecutionProvider"]


def test_cuda_computes_as_exactly_as_the_cpu(
    graph: GraphFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Offered] = []

    def create(_: Path, __: object, providers: list[Any], ___: bytes | None) -> Offered:
        made.append(Offered(providers))
        return made[-1]

    monkeypatch.setattr(ort, "_create", create)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    assert open_cuda(graph).device == "cuda"
    (name, options), fallback = made[0].providers
    assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["use_tf32"] == "0"
    assert options["enable_skip_layer_norm_strict_mode"] == "1"
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["arena_extend_strategy"] == "kSameAsRequested"


def test_fallback_from_cuda_is_an_error(graph: GraphFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "_create", lambda *_: Offered([], uses_cuda=False))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    with pytest.raises(BackendError, match="could not use CUDA"):
        open_cuda(graph)


class DeviceValue:
    """OrtValue on a device, whose memory is the host's here."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array.copy()

    def data_ptr(self) -> int:
        return self.array.ctypes.data


class Uploads:
    """A session with constants on a device, and the copies that it makes there."""

    def __init__(self, graph: GraphFile, monkeypatch: pytest.MonkeyPatch) -> None:
        self.whole = 0
        self.rows: list[int] = []
        self.session = OrtSession(graph, "cuda", object(), uploads=True)
        monkeypatch.setattr(ort, "_upload", self._upload)
        monkeypatch.setattr(ort, "upload", self._upload_row)

    def place(self, array: np.ndarray, versions: list[int]) -> np.ndarray:
        """Return what a run would read."""
        value = self.session._place("bank", Constant(array, "float32", np.array(versions)))
        return value.array

    def _upload(self, constant: Constant, _: str) -> DeviceValue:
        time.sleep(0.01)
        self.whole += 1
        return DeviceValue(constant.array)

    def _upload_row(self, address: int, row: np.ndarray) -> None:
        base = self.session._placed["bank"].value.data_ptr()
        self.rows.append((address - base) // row.nbytes)
        ctypes.memmove(address, row.ctypes.data, row.nbytes)


def test_only_changed_rows_are_copied_to_the_device(
    graph: GraphFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(graph, monkeypatch)
    bank = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(uploads.place(bank, [1, 1, 1, 0]), bank)
    uploads.place(bank, [1, 1, 1, 0])
    assert (uploads.whole, uploads.rows) == (1, [])
    bank[1:] += 100
    np.testing.assert_array_equal(uploads.place(bank, [1, 2, 2, 1]), bank)
    assert (uploads.whole, uploads.rows) == (1, [1, 2, 3])
    # A run of another thread that took its constants earlier reads other rows.
    uploads.place(bank, [1, 1, 2, 0])
    uploads.place(bank, [1, 2, 2, 1])
    assert (uploads.whole, uploads.rows) == (1, [1, 2, 3])
    uploads.place(np.zeros((8, 3), np.float32), [1, 2, 2, 1, 1, 0, 0, 0])
    assert uploads.whole == 2


def test_threads_copy_a_constant_to_the_device_once(
    graph: GraphFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(graph, monkeypatch)
    bank = np.ones((4, 3), np.float32)
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda _: uploads.place(bank, [1] * 4), range(8)))
    assert uploads.whole == 1
    assert all(each is placed[0] for each in placed)
