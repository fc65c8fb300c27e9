"""Execution under TensorRT's rules of scratch memory, of captures, and of a context's graphs."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from cudasim import plan as plans
from cudasim import trt
from gpu_sim import bundles
from gpu_sim.bundles import encoder_feeds
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.cuda.context import open_device
from mms_engine.tensorrt.session import PlanFile, TensorRtSession, open_plan
from tiny_models import make_tiny

trt.install("tensorrt")
trt.install("tensorrt_rtx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    checkpoint = make_tiny(tmp_path_factory.mktemp("checkpoint") / "tiny")
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    return bundles.add_plans(bundles.export(str(checkpoint), out), others=("encoder",))


@pytest.fixture
def opened(sessions, folder: Path, tmp_path: Path, monkeypatch):
    """Open the plan of a graph after changes of its content."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = open_bundle(shutil.copytree(folder, tmp_path / "tiny"))

    def build(name: str, runtime: str = "tensorrt", **changes: object) -> TensorRtSession:
        sessions.append(open_plan(changed(bundle, name, runtime, **changes)))
        return sessions[-1]

    return build


def changed(bundle: Bundle, name: str, runtime: str, **changes: object) -> PlanFile:
    plan = next(plan for plan in bundle.manifest.plans if plan.graph == name)
    path = bundle.path / plan.file.path
    content = plans.from_bytes(path.read_bytes())
    path.write_bytes(plans.to_bytes(dataclasses.replace(content, **changes)))
    return PlanFile(dataclasses.replace(plan, runtime=runtime), path)


def run_in_turn(session: TensorRtSession, lengths: list[int]) -> None:
    """Require of every run what the first one of its length gave."""
    first: dict[int, np.ndarray] = {}
    for frames in lengths:
        logits = session.run(encoder_feeds(frames=frames))["logits"]
        np.testing.assert_array_equal(logits, first.setdefault(frames, logits))


def test_graphs_survive_runs_of_other_shapes(opened, sim) -> None:
    """One context for all shapes would invalidate a graph whenever another shape is run."""
    session = opened("encoder")
    run_in_turn(session, [200, 60, 60, 60, 80, 60, 80, 80, 60])
    assert sim.usage().graphs == 2


def test_shape_that_alternates_with_another_is_captured(opened, sim, caplog) -> None:
    """A capture needs a run since the last change of shapes, which A, B, A leaves out."""
    session = opened("encoder")
    run_in_turn(session, [200, 60, 80, 60, 80, 60, 80])
    assert sim.usage().graphs == 2
    assert not caplog.records


def test_least_recently_used_lane_takes_a_further_shape(opened, sim, monkeypatch) -> None:
    monkeypatch.setattr("mms_engine.tensorrt.execution._LANES", 3)
    session = opened("encoder")
    run_in_turn(session, [200] + [length for length in range(30, 90, 10) for _ in "abc"])
    assert sim.usage().graphs == 3
    run_in_turn(session, [80, 30, 80, 40, 80, 30, 40])
    assert sim.usage().graphs == 3


def test_scratch_memory_is_that_of_the_shapes(opened, sim) -> None:
    """At 1 MiB for each value of a frame, the profile's maxima would not fit into the device."""
    session = opened("encoder", scratch_per_value=1 << 16)
    session.run(encoder_feeds(frames=30))
    assert session.scratch_bytes() > 8 << 30
    assert sim.usage().bytes < 1 << 27
    run_in_turn(session, [60, 60, 60, 30, 30, 30])  # it moves, and then stays


def test_failed_capture_says_why_and_keeps_the_run(opened, sim, caplog) -> None:
    """The reason is TensorRT's: waiting for the device in a capture would hide it."""
    session = opened("encoder", allocates=True)
    run_in_turn(session, [60, 60, 60])
    assert sim.usage().graphs == 0
    assert "tensorrt 10.99.0 could not run in a capture: IExecutionContext::enq" in caplog.text
    sim.reset()  # allocating in a capture is a fault


def test_rtx_captures_by_itself_and_keeps_its_kernels(opened, sim, tmp_path: Path) -> None:
    from mms_engine.tensorrt import compiled

    session = opened("encoder", "tensorrt-rtx")
    run_in_turn(session, [60, 60, 80, 60])
    config = session._lanes.plan.config
    assert config.cuda_graph_strategy.name == "WHOLE_GRAPH_CAPTURE"
    assert config.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
    assert sim.usage().graphs == 0, "none of ours"
    (kept,) = compiled.compiled_folder().iterdir()
    assert kept.is_relative_to(tmp_path / "cache")
    assert kept.read_bytes() == trt.__version__.encode()
    session.close()
    again = opened("encoder", "tensorrt-rtx")
    assert again._lanes.plan.config.cache.content == trt.__version__.encode()
    again.close()
    kept.write_bytes(b"of another release")
    assert opened("encoder", "tensorrt-rtx")._lanes.plan.config.cache.content == b""
    assert compiled.clear() == len(b"of another release")


def test_wrong_use_of_memory_is_no_lack_of_it(sim) -> None:
    from mms_engine.tensorrt.toolkit import open_toolkit

    with open_device().active("testing"):
        toolkit = open_toolkit("tensorrt")
    from mms_engine.tensorrt.toolkit import LoadedPlan

    loaded = LoadedPlan(toolkit, None, Path("a.plan"), open_device(), captures=False)
    driver = open_device().driver
    for text, lacks in (
        ("IExecutionContext::setDeviceMemoryV2: Error Code 3: API Usage Error", False),
        ("updateDeviceMemorySizeForShapes: Error Code 1: Myelin (no memory plan)", False),
        ("[defaultAllocator.cpp] Error Code 1: Cuda Runtime (out of memory)", True),
        ("Error Code 2: OutOfMemory (Requested size was 9 bytes.)", True),
        ("Requested amount of GPU memory (9 bytes) could not be allocated.", True),
    ):
        toolkit._log.log(trt.ILogger.ERROR, text)
        with open_device().active("testing"):
            if lacks:
                with pytest.raises(driver.MemoryError):
                    loaded.failure("run")
            else:
                assert text in str(loaded.failure("run"))
