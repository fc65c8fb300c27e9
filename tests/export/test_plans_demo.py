"""Plans of the demo, built by tensorrt-rtx, which needs no GPU."""

from pathlib import Path

import pytest

from export_runs import run_export
from mms_engine.bundle import Manifest, open_bundle
from mms_export.tensorrt.options import USES, PlanOptions

pytest.importorskip("tensorrt_rtx")

TURING_AND_LATER = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
RTX = "tensorrt-rtx"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo-plans") / "demo"


@pytest.fixture(scope="module")
def fp16(out: Path) -> Manifest:
    options = PlanOptions(runtime=RTX, capabilities=TURING_AND_LATER, streams=True)
    return run_export(Path("demo"), out, precisions=("fp16",), plans=options)


@pytest.fixture(scope="module")
def both(out: Path, fp16: Manifest) -> Manifest:
    options = PlanOptions(runtime=RTX, capabilities=TURING_AND_LATER[1:])
    return run_export(Path("demo"), out, precisions=("fp16", "bf16"), plans=options)


def test_every_profile_for_every_capability(out, fp16):
    assert {plan.graph for plan in fp16.plans} == {"frontend", "encoder", "step"}
    for plan in fp16.plans:
        assert plan.precision == "fp16"
        assert plan.compute_capabilities == TURING_AND_LATER
        uses = ["streaming"] if plan.graph == "step" else list(USES)
        assert [profile.name for profile in plan.profiles] == uses
        assert plan.file.path.endswith(f"{plan.runtime_version}.sm75-80-86-89-120-121.plan")
    assert open_bundle(out).problems() == []


def test_bf16_plans_from_ampere_on(out, fp16, both):
    assert all(plan in both.plans for plan in fp16.plans)  # which cover the request
    built = [plan for plan in both.plans if plan.precision == "bf16"]
    assert [plan.graph for plan in built] == ["encoder", "frontend"]
    for plan in built:
        assert plan.compute_capabilities == TURING_AND_LATER[1:]
        assert [profile.name for profile in plan.profiles] == list(USES)
    assert open_bundle(out).problems() == []


def test_plan_entries_match_their_graphs(out, both):
    graphs = {(graph.name, graph.precision): graph for graph in both.graphs}
    for plan in both.plans:
        graph = graphs[plan.graph, plan.precision]
        assert (plan.inputs, plan.outputs) == (graph.inputs, graph.outputs)
        assert plan.graph_sha256 == graph.files[0].sha256
        assert all(set(p.shapes) == {t.name for t in graph.inputs} for p in plan.profiles)


def test_adapter_bank_is_an_input_of_the_plan(both):
    for plan in both.plans:
        if plan.graph != "frontend":
            dtypes = {tensor.name: tensor.dtype for tensor in plan.inputs}
            bank = "float16" if plan.precision == "fp16" else "bfloat16"
            assert {dtypes[name] for name in ("adapters", "head_weight", "head_bias")} == {bank}
            assert dtypes["slot"] == dtypes["lengths"] == "int64"
