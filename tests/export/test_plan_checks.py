"""What is compared before a plan is built and after it, and how the two libraries differ."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mms_engine.bundle import open_bundle
from mms_engine.bundle.schema import File, Graph, Plan
from mms_engine.cuda.driver import CudaDriver
from mms_engine.errors import PlanError
from mms_export.sources import open_source
from mms_export.tensorrt import build, toolkit
from mms_export.tensorrt.checks import check_engine, check_network
from mms_export.tensorrt.network import make_log, read_network
from mms_export.tensorrt.options import PlanOptions
from mms_export.tensorrt.plans import PlanJob, Planner
from mms_export.tensorrt.progress import STEPS, Phases
from mms_export.tensorrt.toolkit import Toolkit, choose_capabilities

trt = pytest.importorskip("tensorrt_rtx")

RTX = Toolkit("tensorrt-rtx", trt)


@pytest.fixture(scope="module")
def graphs(bundle) -> dict[tuple[str, str], Graph]:
    return {(g.stage, g.precision): g for g in open_bundle(bundle).manifest.graphs}


def check(path: Path, graph: Graph) -> None:
    log = make_log(trt)
    network, parser = read_network(RTX, trt.Builder(log), log, path)
    check_network(network, graph)
    del parser


def path_of(bundle: Path, graph: Graph) -> Path:
    return bundle / graph.files[0].path


@pytest.mark.parametrize("stage", ["frontend", "encoder"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_graphs_are_what_the_manifest_says(bundle, graphs, stage, precision):
    graph = graphs[stage, precision]
    check(path_of(bundle, graph), graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "bfloat16"}, "adapters of the network encoder.fp16 is float16"),
        ({"shape": ("slots", 7)}, r"the manifest says float16\['slots', 7\]"),
        ({"name": "bank"}, "the manifest says bank, "),
    ],
)
def test_an_input_that_is_not_the_manifests(bundle, graphs, change, message):
    graph = graphs["encoder", "fp16"]
    inputs = tuple(
        dataclasses.replace(tensor, **change) if tensor.name == "adapters" else tensor
        for tensor in graph.inputs
    )
    with pytest.raises(PlanError, match=message):
        check(path_of(bundle, graph), dataclasses.replace(graph, inputs=inputs))


def test_an_output_that_is_not_the_manifests(bundle, graphs):
    graph = graphs["frontend", "fp16"]
    (features,) = graph.outputs
    outputs = (dataclasses.replace(features, shape=("batch", "frames", 512)),)
    with pytest.raises(PlanError, match=r"features of the network .* is float32\[-1, -1, 16\]"):
        check(path_of(bundle, graph), dataclasses.replace(graph, outputs=outputs))


@pytest.mark.parametrize("other", ["fp32", "bf16"])
def test_products_in_other_numbers_than_the_precisions(bundle, graphs, other):
    """Both frontends take and give float32: only what they compute in tells them apart."""
    with pytest.raises(PlanError, match=r"frontend\.fp16 computes in .*meant is .*float16"):
        check(path_of(bundle, graphs["frontend", other]), graphs["frontend", "fp16"])


def test_a_softmax_in_half_precision(bundle, graphs, tmp_path):
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
    with pytest.raises(PlanError, match=r"\(softmax\).*computes in float16, meant is float32"):
        check(tmp_path / "narrow.onnx", graph)


def test_a_graph_the_library_cannot_read(tmp_path, graphs):
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
    planner = Planner(resolved, open_source(str(checkpoint)), ("fp16",))
    return dataclasses.replace(planner.job(bundle, graph), options=options)


def test_options_of_tensorrt_reach_its_configuration(bundle, checkpoint, graphs):
    """The library for RTX stands in: its configuration has what tensorrt's has."""
    options = PlanOptions(
        runtime="tensorrt",
        capabilities=("9.0",),
        workspace=1 << 30,
        version_compatible=True,
        weight_streaming=True,
    )
    wanted = job(bundle, checkpoint, graphs["encoder", "fp16"], options)
    builder = trt.Builder(make_log(trt))
    config = build._configure(Toolkit("tensorrt", trt), builder, wanted)
    assert config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert config.get_flag(trt.BuilderFlag.WEIGHT_STREAMING)
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 1 << 30
    assert config.num_optimization_profiles == 3
    assert config.get_compute_capability(0) != trt.ComputeCapability.SM86


def test_tensorrt_builds_for_the_gpu_that_is_here(monkeypatch):
    tensorrt = Toolkit("tensorrt", trt)
    with pytest.raises(PlanError, match="builds plans on the GPU they are for, and no GPU at all"):
        monkeypatch.setattr(toolkit, "cuda_driver", lambda: CudaDriver("", (), "no GPU at all"))
        choose_capabilities(tensorrt, (), ("fp16",))
    here = CudaDriver("13.0", ("A GPU",), "", ("9.0",))
    monkeypatch.setattr(toolkit, "cuda_driver", lambda: here)
    assert choose_capabilities(tensorrt, (), ("fp16",)) == ("9.0",)
    with pytest.raises(PlanError, match=r"for compute capability 9\.0 here, not for 8\.6"):
        choose_capabilities(tensorrt, ("8.6",), ("fp16",))


def test_rtx_capabilities_are_the_librarys():
    chosen = choose_capabilities(RTX, ("12.1", "7.5", "8.6", "8.6"), ("fp16",))
    assert chosen == ("7.5", "8.6", "12.1")
    assert choose_capabilities(RTX, (), ("fp16", "bf16")) == ("8.6", "8.9", "12.0")


@dataclass
class Engine:
    """What is compared of a loaded plan, made from its entry: loading one takes a GPU."""

    plan: Plan
    dtype: str = ""
    shift: int = 0
    profiles: int = 0

    @property
    def tensors(self):
        return (*self.plan.inputs, *self.plan.outputs)

    @property
    def num_io_tensors(self):
        return len(self.tensors)

    @property
    def num_optimization_profiles(self):
        return len(self.plan.profiles) + self.profiles

    def get_tensor_name(self, index):
        return self.tensors[index].name

    def _tensor(self, name):
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def get_tensor_dtype(self, name):
        names = {"float32": "FLOAT", "float16": "HALF", "int64": "INT64"}
        return SimpleNamespace(name=self.dtype or names[self._tensor(name).dtype])

    def get_tensor_shape(self, name):
        return [-1 if isinstance(size, str) else size for size in self._tensor(name).shape]

    def get_tensor_profile_shape(self, name, index):
        extent = self.plan.profiles[index].shapes[name]
        most = (extent.max[0] + self.shift, *extent.max[1:])
        return [list(extent.min), list(extent.opt), list(most)]


@pytest.fixture
def plan(bundle, checkpoint, graphs) -> Plan:
    options = PlanOptions(runtime="tensorrt-rtx", capabilities=("8.6",))
    wanted = job(bundle, checkpoint, graphs["encoder", "fp16"], options)
    return wanted.entry(File(path="plans/p", sha256="", size=0))


def test_a_loaded_plan_that_is_its_entry(plan):
    check_engine(Engine(plan), plan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "BF16"}, "is bfloat16"),
        ({"shift": 1}, "profile streaming of the plan encoder.fp16 takes features as"),
        ({"profiles": -1}, "has 2 profiles, the manifest 3"),
    ],
)
def test_a_loaded_plan_that_is_not_its_entry(plan, change, message):
    with pytest.raises(PlanError, match=message):
        check_engine(Engine(plan, **change), plan)


def test_a_loaded_plan_with_other_tensors(plan):
    other = dataclasses.replace(plan, inputs=plan.inputs[1:])
    with pytest.raises(PlanError, match="has the tensors"):
        check_engine(Engine(other), plan)


def test_phases_inside_phases_make_one_bar():
    steps: list[int] = []
    phases = Phases(steps.append)
    phases.start("build", None, 2)
    phases.start("first half", "build", 4)
    phases.step("first half", 0)
    assert sum(steps) == STEPS // 8
    phases.finish("first half")
    phases.step("build", 0)
    assert sum(steps) == STEPS // 2
    phases.start("again", "build", 1)
    phases.start("inside", "again", 2)
    phases.step("inside", 0)
    assert sum(steps) == STEPS * 3 // 4
    phases.start("a second one in the same step", "again", 2)
    assert sum(steps) == STEPS * 3 // 4
    phases.finish("build")
    assert sum(steps) == STEPS
    phases.step("unknown", 5)
    phases.finish("unknown")
    assert sum(steps) == STEPS
    assert np.min(steps) > 0
