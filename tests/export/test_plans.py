"""Plans in an export: built, kept, resumed, replaced, refused. Builds are real, but tiny."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from export_runs import command, digests, invoke, run_export
from full_disk import full_disk
from mms_engine.bundle import MANIFEST, Manifest, open_bundle
from mms_engine.bundle.files import atomic_open
from mms_engine.cli import main as mms
from mms_engine.errors import BundleError, PlanError
from mms_export.bundle import pipeline
from mms_export.bundle.isolation import run_reporting
from mms_export.checkpoints.open import open_checkpoint
from mms_export.tensorrt import build
from mms_export.tensorrt.build import build_plan
from mms_export.tensorrt.options import USES, PlanOptions
from mms_export.tensorrt.output import write_plan
from mms_export.tensorrt.plans import PlanJob, Planner
from mms_export.tensorrt.profiles import Extents, make_profiles
from mms_export.tensorrt.progress import STEPS
from mms_export.tensorrt.toolkit import Toolkit
from tiny_models import TinyOptions, make_tiny

trt = pytest.importorskip("tensorrt_rtx")

SMALL = PlanOptions(
    runtime="tensorrt-rtx", capabilities=("8.6",), uses=(USES["streaming"].limited(2, 2),)
)


PROFILES = {"frontend": ["slices"], "step": ["steps, streaming"]}


@pytest.fixture(scope="module")
def built(bundle: Path, tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("plans") / "bundle"
    shutil.copytree(bundle, out)
    run_export(checkpoint, out, precisions=("fp16",), plans=SMALL)
    return out


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bundle"))


@pytest.fixture
def no_builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the plans that would be built; none is."""
    asked: list[str] = []

    def stop(_: object, __: object, job) -> None:
        asked.append(job.path.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_reporting", stop)
    return asked


def again(checkpoint: Path, out: Path, options: PlanOptions | None = SMALL) -> Manifest:
    return run_export(checkpoint, out, precisions=("fp16",), plans=options)


def test_manifest_names_the_plans_and_no_other_file_is_left(built):
    opened = open_bundle(built)
    assert opened.problems() == []
    named = {file.path for file in opened.manifest.files()}
    assert set(digests(built)) == named | {MANIFEST}
    release = trt.__version__
    assert [plan.file.path for plan in opened.manifest.plans] == [
        f"plans/{name}.fp16.tensorrt-rtx-{release}.sm86.plan" for name in ("frontend", "step")
    ]


def test_budget_is_made_of_the_builders_figures(built):
    manifest = open_bundle(built).manifest
    by_graph = {plan.graph: plan for plan in manifest.plans}
    assert all(len(plan.scratch) == len(plan.profiles) for plan in manifest.plans)
    given = ["doctor", "--bundle", str(built), "--budget", "2x1,languages=7,vocab=150", "--json"]
    (found,) = json.loads(CliRunner().invoke(mms, given).stdout)
    parts = found["bytes"]
    assert parts["weights"] == sum(plan.file.size for plan in manifest.plans)
    scratch = by_graph["frontend"].scratch[0], min(by_graph["step"].scratch)
    assert parts["scratch memory of runs"] == max(scratch) > 0
    # Pages of 64 tokens: three of 150 tokens, one of each other language, one of padding.
    heads = (3 + 6 + 1) * 64 * 33
    assert parts["7 languages"] == 2 * (7 * manifest.model.adapter_parameters + heads)
    # Two rows of one slice each, of float32 samples; features; float32 logits.
    frames = 50 + manifest.model.num_conv_pos_embeddings // 2
    features = 2 * frames * manifest.model.feature_size * 4
    assert parts["inputs, features, logits"] == 2 * 32_080 * 4 + features + 2 * frames * 192 * 4
    assert found["sum"] == sum(parts.values())


def test_dry_run_prints_the_gpu_memory_of_plans_built_before(checkpoint, built):
    given = ["--model", checkpoint, "--out", built, "--precision", "fp16", "--dry-run"]
    given += ["--engine", "tensorrt-rtx", "--sm", "86", "--profile", "streaming=2x2"]
    (found,) = json.loads(invoke(*given, "--json").stdout)["gpu_memory"]
    languages = len(open_bundle(built).manifest.data)
    load = f"2x2,languages={languages},streams=2"
    asked = ["doctor", "--bundle", str(built), "--budget", load]
    assert [found] == json.loads(CliRunner().invoke(mms, [*asked, "--json"]).stdout)
    text = CliRunner().invoke(mms, asked).stdout
    assert invoke(*given).stdout.endswith(f"GPU memory, from the plans in the bundle:\n{text}")
    larger = [*given[:-1], "streaming=4x2", "--json"]
    assert json.loads(invoke(*larger).stdout)["gpu_memory"] == [], "not built"


def test_scratch_memory_of_steps_holds_no_cache_for_each_layer(built, tmp_path):
    """A KV cache that is one input is copied for all layers at once."""
    make_tiny(tmp_path / "deep", TinyOptions(layers=6))
    deep = run_export(tmp_path / "deep", tmp_path / "out", precisions=("fp16",), plans=SMALL)
    (less,), (more,) = (
        [plan for plan in manifest.plans if plan.graph == "step"]
        for manifest in (open_bundle(built).manifest, deep)
    )
    rows, heads, slots, size = more.profiles[0].shapes["keys.0"].max
    cache = 2 * rows * heads * slots * size * np.dtype(np.float16).itemsize
    assert more.scratch[0] - less.scratch[0] < cache, "four more layers, and the cache of one"


@pytest.mark.parametrize(
    ("load", "code", "message"),
    [
        ("3x1", 1, "covers no run of 3 x"),
        ("1x9", 1, "covers no run of 1 x"),
        ("1", 2, "'1' is not of the form 16x30"),
        ("1x1,rows=2", 2, "is not of the form"),
        ("0x1", 2, "is not of the form"),
    ],
)
def test_impossible_budgets_are_refused(built, load, code, message):
    result = CliRunner().invoke(mms, ["doctor", "--bundle", str(built), "--budget", load])
    assert result.exit_code == code
    assert message in result.output


def test_second_export_builds_nothing(checkpoint, copy, no_builds):
    before = digests(copy)
    again(checkpoint, copy)
    again(checkpoint, copy, options=None)
    assert no_builds == []
    assert digests(copy) == before


def test_damaged_plan_is_rebuilt(checkpoint, copy, no_builds):
    (damaged,) = (copy / "plans").glob("frontend*")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(KeyboardInterrupt):
        again(checkpoint, copy)
    assert no_builds == [damaged.name]
    assert [plan.graph for plan in open_bundle(copy).manifest.plans] == ["step"]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        # The plan of the same name goes before files change; slices do not depend on uses.
        ({"uses": (USES["streaming"].limited(3, 2),)}, 1),
        ({"capabilities": ("12.0",)}, 2),  # for other GPUs: beside the others
    ],
)
def test_plans_with_other_options(checkpoint, copy, no_builds, change, left):
    with pytest.raises(KeyboardInterrupt):
        again(checkpoint, copy, dataclasses.replace(SMALL, **change))
    assert len(no_builds) == 1
    assert len(open_bundle(copy).manifest.plans) == left


def test_plan_for_more_gpus_replaces_one_for_fewer(checkpoint, copy):
    more = dataclasses.replace(SMALL, capabilities=("8.9", "8.6"))
    manifest = again(checkpoint, copy, more)
    assert {plan.compute_capabilities for plan in manifest.plans} == {("8.6", "8.9")}
    assert len(list((copy / "plans").iterdir())) == 2
    assert again(checkpoint, copy) == manifest  # it covers the first request


def test_plan_of_another_release_is_rebuilt(checkpoint, copy, no_builds, monkeypatch):
    monkeypatch.setattr(trt, "__version__", "99.0")
    with pytest.raises(KeyboardInterrupt):
        again(checkpoint, copy)
    assert no_builds[0].startswith("frontend.fp16.tensorrt-rtx-99.0.")


def test_plans_stay_only_with_the_graph_they_were_built_from(checkpoint, copy):
    path = copy / MANIFEST
    plans = open_bundle(copy).manifest.plans
    assert again(checkpoint, copy, options=None).plans == plans
    document = json.loads(path.read_bytes())
    document["plans"][0]["graph_sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    assert again(checkpoint, copy, options=None).plans == plans[1:]
    assert len(list((copy / "plans").iterdir())) == 1


def test_finished_plans_survive_an_interruption(checkpoint, bundle, tmp_path, monkeypatch):
    out = Path(shutil.copytree(bundle, tmp_path / "b"))
    asked: list[str] = []

    def one_then_stop(function, advance, job):
        asked.append(job.path.name)
        if job.graph.name == "step":
            raise KeyboardInterrupt
        return run_reporting(function, advance, job)

    monkeypatch.setattr(pipeline, "run_reporting", one_then_stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            again(checkpoint, out)
    assert [name.split(".")[0] for name in asked] == ["frontend", "step", "step"]
    assert open_bundle(out).problems() == []


def test_progress_reaches_the_end_and_never_decreases(frontend_job):
    steps: list[int] = []
    run_reporting(build_plan, steps.append, frontend_job)
    assert sum(steps) == STEPS
    assert min(steps) > 0
    assert len(steps) > 10


def is_building(process: psutil.Process) -> bool:
    """Whether a child has loaded the library, which takes most of its start."""
    return any(
        "libtensorrt_rtx" in mapped.path
        for child in process.children(recursive=True)
        for mapped in child.memory_maps()
    )


def test_ctrl_c_stops_a_build(checkpoint, bundle, tmp_path):
    out = Path(shutil.copytree(bundle, tmp_path / "b"))
    given = ("--precision", "fp16", "--engine", "tensorrt-rtx", "--sm", "86,89,120")
    process = psutil.Popen(
        command(checkpoint, out, *given),
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    wait_until(lambda: is_building(process))
    start = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert time.perf_counter() - start < 10
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not list(out.rglob("*.partial"))
    assert open_bundle(out).manifest.plans == ()
    wait_until(lambda: not group_exists(process.pid))


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_command_reports_the_plans(checkpoint, copy):
    given = ["--model", checkpoint, "--out", copy, "--precision", "fp16", "--quiet"]
    given += ["--engine", "tensorrt-rtx", "--sm", "8.6", "--profile", "streaming=2x2"]
    result = invoke(*given)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"; plans for tensorrt-rtx {trt.__version__} (fp16 on 8.6)\n")
    plans = json.loads(invoke(*given, "--json").stdout)["plans"]
    assert [plan["graph"] for plan in plans] == ["frontend", "step"]
    for plan in plans:
        assert plan["profiles"] == PROFILES[plan["graph"]]
        assert plan["bytes"] == (copy / plan["path"]).stat().st_size


def test_dry_run_includes_the_plans(checkpoint, tmp_path):
    given = ["--model", checkpoint, "--out", tmp_path / "b", "--precision", "fp16", "--dry-run"]
    given += ["--engine", "tensorrt-rtx", "--sm", "86,89"]
    lines = [line.rsplit(maxsplit=2)[0].strip() for line in invoke(*given).stdout.splitlines()]
    assert lines[3:5] == [f"{part}.fp16 tensorrt-rtx sm86-89" for part in ("frontend", "step")]
    sizes = json.loads(invoke(*given, "--json").stdout)["bytes"]
    # The plan holds weights that the graph shares.
    assert sizes["step.fp16 tensorrt-rtx sm86-89"] >= sizes["encoder.fp16"]


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ("--sm 86", 2, "--sm needs --engine"),
        ("--profile long", 2, "--profile needs --engine"),
        (
            "--engine tensorrt-rtx --sm ada",
            2,
            "'ada' is not a compute capability",
        ),
        ("--engine tensorrt-rtx --profile live=2x2", 2, "'live=2x2' is neither streaming"),
        ("--engine tensorrt-rtx --profile long=2x5", 2, "long takes a batch of at least 1 and"),
        ("--engine tensorrt-rtx --sm 90", 1, "not for 9.0"),
        ("--engine tensorrt-rtx --sm 75 --precision bf16", 1, "7.5 has no bfloat16: leave it out"),
        ("--engine tensorrt-rtx --precision fp32", 1, "add one to --precision"),
    ],
)
def test_impossible_plans_are_refused_before_writing(checkpoint, tmp_path, given, code, message):
    base = ("--model", checkpoint, "--out", tmp_path / "b", "--precision", "fp16")
    result = invoke(*base, *given.split())
    assert result.exit_code == code
    assert message in result.stderr
    assert not (tmp_path / "b").exists()


def test_missing_library(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(PlanError, match=r"pip install 'mms-engine\[rtx\]'"):
        again(checkpoint, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.fixture
def frontend_job(checkpoint: Path, copy: Path) -> PlanJob:
    planner = Planner(SMALL, open_checkpoint(str(checkpoint)), ("fp16",), ("frontend",))
    graph = next(g for g in open_bundle(copy).manifest.graphs if g.precision == "fp16")
    return planner.job(copy, graph)


def test_failed_build_gives_the_reason_of_the_library(checkpoint, frontend_job, monkeypatch):
    def without_memory(*given: object) -> object:
        config = configure(*given)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1)
        return config

    configure = build.configure
    monkeypatch.setattr(build, "configure", without_memory)
    extents = Extents.of(open_checkpoint(str(checkpoint)))
    wide = make_profiles(frontend_job.graph.inputs, (USES["offline"],), extents, whole=True)
    with pytest.raises(PlanError, match=r"cannot build frontend\.fp16.*workspace"):
        build_plan(lambda _: None, dataclasses.replace(frontend_job, profiles=wide))


def test_full_disk_is_reported_and_leaves_no_file(frontend_job, monkeypatch):
    """The library writes the plan piece by piece, and the disk rejects the pieces."""
    frontend_job.path.unlink()
    monkeypatch.setattr(build, "atomic_open", open_on_full_disk)
    with pytest.raises(BundleError, match="File too large"):
        build_plan(lambda _: None, frontend_job)
    assert not list(frontend_job.path.parent.glob(f"{frontend_job.path.name}*"))


def test_runs_take_the_memory_of_their_shapes_from_the_caller(frontend_job):
    toolkit = Toolkit("tensorrt-rtx", trt)
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    config = build.configure(toolkit, builder, frontend_job)
    assert config.get_preview_feature(trt.PreviewFeature.RUNTIME_ACTIVATION_RESIZE_10_10)
    assert config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


@contextlib.contextmanager
def open_on_full_disk(path: Path) -> Iterator[IO[bytes]]:
    """`atomic_open` onto a full disk."""
    with full_disk(), atomic_open(path) as stream:
        yield stream


def test_release_without_stream_writers_writes_the_plan(tmp_path):
    class Builder:
        def build_serialized_network(self, network: str, config: str) -> bytes | None:
            return f"{network} {config}".encode() if network else None

    toolkit = Toolkit("tensorrt-rtx", trt)
    with (tmp_path / "plan").open("wb") as stream:
        assert write_plan(toolkit, Builder(), ("network", "config"), stream)
        assert not write_plan(toolkit, Builder(), ("", "config"), stream)
    assert (tmp_path / "plan").read_bytes() == b"network config"
