"""Plans of the demo, built by tensorrt-rtx, which needs no GPU."""

from pathlib import Path

import pytest

from export_runs import run_export
from mms_engine.bundle import Manifest, open_bundle
from mms_export.tensorrt.options import PlanOptions

pytest.importorskip("tensorrt_rtx")

TURING_AND_LATER = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
AMPERE_AND_LATER = TURING_AND_LATER[1:]
RTX = "tensorrt-rtx"
NAMES = {"frontend": ["slices"], "step": ["steps, offline", "long"]}
"""Profiles of each plan."""


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Manifest]:
    """Manifests after an export of fp16, and one that adds bf16."""
    out = tmp_path_factory.mktemp("demo-plans") / "demo"
    options = PlanOptions(runtime=RTX, capabilities=TURING_AND_LATER)
    fp16 = run_export(Path("demo"), out, precisions=("fp16",), plans=options)
    options = PlanOptions(runtime=RTX, capabilities=AMPERE_AND_LATER)
    both = run_export(Path("demo"), out, precisions=("fp16", "bf16"), plans=options)
    assert open_bundle(out).problems() == []
    return fp16, both


def test_fp16_plans_have_every_profile_and_capability(manifests):
    fp16, both = manifests
    assert {plan.graph for plan in fp16.plans} == set(NAMES)
    for plan in fp16.plans:
        assert plan.precision == "fp16"
        assert plan.compute_capabilities == TURING_AND_LATER
        assert [profile.name for profile in plan.profiles] == NAMES[plan.graph]
        assert plan.file.path.endswith(f"{plan.runtime_version}.sm75-80-86-89-120-121.plan")
    assert all(plan in both.plans for plan in fp16.plans)  # they cover the second request


def test_bf16_plans_from_ampere_on(manifests):
    built = [plan for plan in manifests[1].plans if plan.precision == "bf16"]
    assert [plan.graph for plan in built] == ["frontend", "step"]
    for plan in built:
        assert plan.compute_capabilities == AMPERE_AND_LATER
        assert [profile.name for profile in plan.profiles] == NAMES[plan.graph]


def test_plan_entries_match_their_graphs_with_the_bank_as_input(manifests):
    graphs = {(graph.name, graph.precision): graph for graph in manifests[1].graphs}
    for plan in manifests[1].plans:
        graph = graphs[plan.graph, plan.precision]
        assert (plan.inputs, plan.outputs) == (graph.inputs, graph.outputs)
        assert plan.graph_sha256 == graph.files[0].sha256
        assert all(set(p.shapes) == {t.name for t in graph.inputs} for p in plan.profiles)
        if plan.graph != "frontend":
            dtypes = {tensor.name: tensor.dtype for tensor in plan.inputs}
            bank = "float16" if plan.precision == "fp16" else "bfloat16"
            assert {dtypes[name] for name in ("adapters", "head_weight", "head_bias")} == {bank}
            assert dtypes["slot"] == dtypes["lengths"] == "int64"
