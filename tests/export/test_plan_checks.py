"""Checks of networks, and differences between the two builder libraries."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Graph
from mms_engine.cuda.driver import CudaDriver
from mms_engine.errors import PlanError
from mms_engine.tensorrt.toolkit import make_log
from mms_export.checkpoints.open import open_checkpoint
from mms_export.tensorrt import build, toolkit
from mms_export.tensorrt.build import read_network
from mms_export.tensorrt.checks import check_network
from mms_export.tensorrt.options import PlanOptions
from mms_export.tensorrt.plans import PlanJob, Planner
from mms_export.tensorrt.progress import STEPS, Phases
from mms_export.tensorrt.toolkit import Toolkit, choose_capabilities

trt = pytest.importorskip("tensorrt_rtx")

RTX = Toolkit("tensorrt-rtx", trt)


@pytest.fixture(scope="module")
def graphs(bundle) -> dict[tuple[str, str], Graph]:
    return {(g.name, g.precision): g for g in open_bundle(bundle).manifest.graphs}


def check(path: Path, graph: Graph) -> None:
    log = make_log(trt)
    network, parser = read_network(RTX, trt.Builder(log), log, path)
    check_network(network, graph)
    del parser


def path_of(bundle: Path, graph: Graph) -> Path:
    return bundle / graph.files[0].path


@pytest.mark.parametrize("name", ["frontend", "encoder", "step"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_networks_match_the_manifest(bundle, graphs, name, precision):
    graph = graphs[name, precision]
    check(path_of(bundle, graph), graph)


@pytest.mark.parametrize(
    ("name", "field", "change", "message"),
    [
        ("adapters", "inputs", {"dtype": "bfloat16"}, "adapters of the network encoder.fp16 is f"),
        ("adapters", "inputs", {"shape": ("slots", 7)}, r"manifest says float16\['slots', 7\]"),
        ("adapters", "inputs", {"name": "bank"}, "the manifest says bank, "),
        ("logits", "outputs", {"shape": ("batch", 512)}, r"logits .* is float32\[-1, -1, -1\]"),
    ],
)
def test_tensor_that_differs_from_the_manifest(bundle, graphs, name, field, change, message):
    graph = graphs["encoder", "fp16"]
    tensors = tuple(
        dataclasses.replace(tensor, **change) if tensor.name == name else tensor
        for tensor in getattr(graph, field)
    )
    with pytest.raises(PlanError, match=message):
        check(path_of(bundle, graph), dataclasses.replace(graph, **{field: tensors}))


@pytest.mark.parametrize("other", ["fp32", "bf16"])
def test_products_in_another_dtype_than_the_precision(bundle, graphs, other):
    """Inputs and outputs of both frontends are float32; only their inner types differ."""
    with pytest.raises(PlanError, match=r"frontend\.fp16 computes in .*instead of .*float16"):
        check(path_of(bundle, graphs["frontend", other]), graphs["frontend", "fp16"])


def test_softmax_in_half_precision(bundle, graphs, tmp_path):
    graph = graphs["encoder", "fp16"]
    model = onnx.load(path_of(bundle, graph))
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    position = list(model.graph.node).index(softmax)
    given, gives = softmax.input[0], softmax.output[0]
    softmax.input[0], softmax.output[0] = "narrow", "narrow_shares"
    model.graph.node.insert(position, helper.make_node("Cast", [given], ["narrow"], to=10))
    widen = helper.make_node("Cast", ["narrow_shares"], [gives], to=TensorProto.FLOAT)
    model.graph.node.insert(position + 2, widen)
    onnx.save(model, tmp_path / "narrow.onnx")
    with pytest.raises(PlanError, match=r"\(softmax\).*computes in float16 instead of float32"):
        check(tmp_path / "narrow.onnx", graph)


def test_graph_that_the_library_cannot_parse(tmp_path, graphs):
    node = helper.make_node("NoSuchThing", ["audio"], ["features"])
    sound = helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [1])
    onnx.save(
        helper.make_model(helper.make_graph([node], "g", [sound], [features])), tmp_path / "g.onnx"
    )
    with pytest.raises(PlanError, match=r"cannot read .*g\.onnx: .*NoSuchThing"):
        check(tmp_path / "g.onnx", graphs["frontend", "fp16"])


def job(bundle: Path, checkpoint: Path, graph: Graph, options: PlanOptions) -> PlanJob:
    resolved = PlanOptions(runtime="tensorrt-rtx", capabilities=("8.6",), uses=options.uses)
    planner = Planner(resolved, open_checkpoint(str(checkpoint)), ("fp16",), ("encoder",))
    return dataclasses.replace(planner.job(bundle, graph), options=options)


def test_tensorrt_configuration_has_profiles_and_no_other_gpu(bundle, checkpoint, graphs):
    """The library for RTX stands in for tensorrt: their configurations have the same interface."""
    options = PlanOptions(runtime="tensorrt", capabilities=("9.0",))
    wanted = job(bundle, checkpoint, graphs["encoder", "fp16"], options)
    config = build.configure(Toolkit("tensorrt", trt), trt.Builder(make_log(trt)), wanted)
    assert config.num_optimization_profiles == 3
    assert config.get_compute_capability(0) != trt.ComputeCapability.SM86


def test_tensorrt_builds_for_the_gpu_of_this_machine(monkeypatch):
    tensorrt = Toolkit("tensorrt", trt)
    with pytest.raises(PlanError, match="builds plans on the GPU they are for, and no GPU at all"):
        monkeypatch.setattr(toolkit, "cuda_driver", lambda: CudaDriver("", (), "no GPU at all"))
        choose_capabilities(tensorrt, (), ("fp16",))
    here = CudaDriver("13.0", ("A GPU",), "", ("9.0",))
    monkeypatch.setattr(toolkit, "cuda_driver", lambda: here)
    assert choose_capabilities(tensorrt, (), ("fp16",)) == ("9.0",)
    with pytest.raises(PlanError, match=r"for compute capability 9\.0 here, not for 8\.6"):
        choose_capabilities(tensorrt, ("8.6",), ("fp16",))


def test_rtx_capabilities_are_those_of_the_library():
    chosen = choose_capabilities(RTX, ("12.1", "7.5", "8.6", "8.6"), ("fp16",))
    assert chosen == ("7.5", "8.6", "12.1")
    assert choose_capabilities(RTX, (), ("fp16", "bf16")) == ("8.6", "8.9", "12.0")


def test_nested_phases_make_one_bar():
    steps: list[int] = []
    phases = Phases(steps.append)
    phases.phase_start("build", None, 2)
    phases.phase_start("first half", "build", 4)
    phases.step_complete("first half", 0)
    assert sum(steps) == STEPS // 8
    phases.phase_finish("first half")
    phases.step_complete("build", 0)
    assert sum(steps) == STEPS // 2
    phases.phase_start("again", "build", 1)
    phases.phase_start("inside", "again", 2)
    phases.step_complete("inside", 0)
    assert sum(steps) == STEPS * 3 // 4
    phases.phase_start("a second one in the same step", "again", 2)
    assert sum(steps) == STEPS * 3 // 4
    phases.phase_finish("build")
    assert sum(steps) == STEPS
    phases.step_complete("unknown", 5)
    phases.phase_finish("unknown")
    assert sum(steps) == STEPS
    assert np.min(steps) > 0
