"""One plan in TensorRT: profiles, graphs, memory and errors."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from cudasim import plan as plans
from cudasim import trt
from gpu_sim import bundles
from gpu_sim.bundles import PARAMETERS, encoder_feeds
from mms_engine.asr.options import RecognizerOptions
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.cuda.context import open_device
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.encoder.device.loading import load_device_encoder
from mms_engine.errors import BackendError, DeviceLostError, DeviceMemoryError
from mms_engine.tensorrt.choose import NoPlan
from mms_engine.tensorrt.session import PlanFile, TensorRtSession, open_plan
from mms_engine.tensorrt.toolkit import open_toolkit
from tiny_models import make_tiny

trt.install("tensorrt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    checkpoint = make_tiny(tmp_path_factory.mktemp("checkpoint") / "tiny")
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    return bundles.add_plans(bundles.export(str(checkpoint), out), others=("encoder",))


@pytest.fixture
def bundle(folder: Path, tmp_path: Path) -> Bundle:
    """Modifiable copy of the bundle."""
    return open_bundle(shutil.copytree(folder, tmp_path / "tiny"))


@pytest.fixture
def opened(sessions):
    """Open plans."""

    def build(bundle: Bundle, stage: str) -> TensorRtSession:
        sessions.append(open_plan(plan_of(bundle, stage)))
        return sessions[-1]

    return build


def plan_of(bundle: Bundle, name: str) -> PlanFile:
    plan = next(plan for plan in bundle.manifest.plans if plan.graph == name)
    return PlanFile(plan, bundle.path / plan.file.path)


AUDIO = {"audio": np.zeros((2, 32_080), np.float32)}


def reference(bundle: Bundle, inputs: dict[str, np.ndarray]) -> np.ndarray:
    from mms_engine.backends.ort import open_cpu
    from mms_engine.backends.session import GraphFile

    graph, path = bundle.graph("encoder", "fp16")
    return open_cpu(GraphFile(graph, path), 1).run(inputs)["logits"]


def test_run_on_host_arrays_equals_the_graph(opened, bundle: Bundle) -> None:
    session = opened(bundle, "encoder")
    for rows, frames in [(2, 60), (1, 30), (2, 60), (2, 60)]:
        inputs = encoder_feeds(rows, frames)
        got = session.run(inputs)["logits"]
        np.testing.assert_allclose(got, reference(bundle, inputs), atol=1e-5)


def test_second_run_of_a_shape_is_a_cuda_graph_and_few_are_kept(
    opened, sim, bundle: Bundle, monkeypatch
) -> None:
    monkeypatch.setattr("mms_engine.tensorrt.execution._LANES", 2)
    session = opened(bundle, "encoder")
    largest = encoder_feeds(2, 200)
    session.run(largest)  # buffers do not move after it
    for frames in (60, 80, 60, 80, 60, 80):
        inputs = encoder_feeds(2, frames)
        np.testing.assert_allclose(
            session.run(inputs)["logits"], reference(bundle, inputs), atol=1e-5
        )
    assert sim.usage().graphs == 2
    for frames in (100, 100, 120, 120):
        session.run(encoder_feeds(2, frames))
    assert sim.usage().graphs == 2


def test_graphs_are_freed_when_the_scratch_memory_moves(
    opened, sim, bundle: Bundle, monkeypatch
) -> None:
    def size(context: trt.IExecutionContext) -> int:
        return (5 << 20) if context.get_tensor_shape("features")[1] == 70 else 1 << 20

    monkeypatch.setattr(trt.IExecutionContext, "update_device_memory_size_for_shapes", size)
    session = opened(bundle, "encoder")
    session.run(encoder_feeds(4, 200))  # buffers do not move after it
    # 70 frames move it. It may come to lie where it was: a graph goes before the next run.
    for frames, kept in ((60, 0), (60, 1), (70, 1), (60, 0), (60, 1)):
        inputs = encoder_feeds(2, frames)
        np.testing.assert_allclose(
            session.run(inputs)["logits"], reference(bundle, inputs), atol=1e-5
        )
        assert sim.usage().graphs == kept


def test_runs_work_without_cuda_graphs(opened, sim, bundle: Bundle, caplog) -> None:
    session = opened(bundle, "encoder")
    sim.fail("cuStreamBeginCapture", code=801)
    inputs = encoder_feeds()
    for _ in range(3):
        got = session.run(inputs)["logits"]
    np.testing.assert_allclose(got, reference(bundle, inputs), atol=1e-5)
    assert sim.usage().graphs == 0
    assert "no CUDA graph of these shapes" in caplog.text
    for _ in range(2):
        session.run(encoder_feeds(3, 80))
    assert sim.usage().graphs == 1, "other shapes have theirs"


def test_shapes_outside_every_profile_are_refused(opened, bundle: Bundle) -> None:
    session = opened(bundle, "encoder")
    with pytest.raises(BackendError, match=r"no profile of the plan covers 2 batch, 4000 frames"):
        session.run(encoder_feeds(2, 4_000))
    with pytest.raises(BackendError, match=r"features must be"):
        session.run({})
    with pytest.raises(BackendError, match=r"adapters is float16, got float32"):
        session.run(encoder_feeds() | {"adapters": np.zeros((3, PARAMETERS), np.float32)})
    assert session.run(encoder_feeds())["logits"].shape == (2, 60, 64)


def test_wrong_profile_or_address_is_an_error_with_tensorrts_message(
    opened, bundle: Bundle
) -> None:
    session = opened(bundle, "frontend")
    device = open_device()
    with device.active("testing"):
        audio = DeviceArray.empty(device, (2, 32_080), np.float32)
        features = DeviceArray.empty(device, (2, 100, 16), np.float32)
        long = audio.view((1, 40_000))
        with pytest.raises(BackendError, match=r"could not take the shape .* not in profile 0"):
            session.enqueue(0, {"audio": long}, {"features": features})
        shifted = audio.view((1, 32_080), offset=4)
        with pytest.raises(BackendError, match=r"take an address for audio: .* not 256-byte"):
            session.enqueue(0, {"audio": shifted}, {"features": features})
        with pytest.raises(BackendError, match=r"could not take profile 9"):
            session.enqueue(9, {"audio": audio}, {"features": features})
        with pytest.raises(BackendError, match=r"features is float.*, got nothing"):
            session.enqueue(0, {"audio": audio}, {})
        audio.free()
        features.free()


def test_run_beyond_device_memory_is_an_error(opened, sim, bundle: Bundle) -> None:
    session = opened(bundle, "encoder")
    sim.out_of_memory(times=2)
    with pytest.raises(DeviceMemoryError, match=r"out of memory while running encoder"):
        session.run(encoder_feeds())
    assert session.run(encoder_feeds())["logits"].shape == (2, 60, 64)


def test_weights_beyond_device_memory_are_an_error(sim, bundle: Bundle) -> None:
    sim.out_of_memory()
    with pytest.raises(DeviceMemoryError, match=r"while loading encoder"):
        open_plan(plan_of(bundle, "encoder"))


def test_failed_run_is_an_error_of_the_session(opened, sim, bundle: Bundle) -> None:
    session = opened(bundle, "encoder")
    session.run(encoder_feeds())
    sim.fail("cuMemcpyDtoHAsync", code=1)
    with pytest.raises(BackendError, match=r"failed while running encoder"):
        session.run(encoder_feeds())


def test_closed_session_raises(opened, bundle: Bundle) -> None:
    session = opened(bundle, "encoder")
    assert "TensorRtSession" in repr(session)
    session.close()
    session.close()
    with pytest.raises(BackendError, match=r"the session is closed"):
        session.run(encoder_feeds())


def rewrite(bundle: Bundle, stage: str, **changes: object) -> PlanFile:
    """Change the content of a plan's file, and keep its entry."""
    file = plan_of(bundle, stage)
    content = plans.from_bytes(file.path.read_bytes())
    file.path.write_bytes(plans.to_bytes(dataclasses.replace(content, **changes)))
    return file


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "9.0"}, r"got 9\.0"),
        ({"capabilities": [90]}, r"got compute 9\.0"),
        (None, "magic tag"),
    ],
)
def test_plan_that_the_runtime_cannot_read_is_rejected(
    sim, bundle: Bundle, changes: dict[str, object] | None, reason: str
) -> None:
    file = rewrite(bundle, "encoder", **(changes or {}))
    if changes is None:
        file.path.write_bytes(b"nothing")
    with pytest.raises(BackendError, match=rf"could not read the plan: .*{reason}"):
        open_plan(file)


def test_plan_that_differs_from_its_manifest_entry_is_rejected(sim, bundle: Bundle) -> None:
    file, other = plan_of(bundle, "encoder"), plan_of(bundle, "frontend")
    few = dataclasses.replace(file.plan, profiles=file.plan.profiles[:2])
    inputs = tuple(
        dataclasses.replace(one, dtype="bfloat16") if one.name == "adapters" else one
        for one in file.plan.inputs
    )
    profiles = (*file.plan.profiles[1:], file.plan.profiles[0])
    for plan, reason in [
        (other.plan, "it has the tensors"),
        (few, "it has 3 profiles"),
        (dataclasses.replace(file.plan, inputs=inputs), "it takes adapters as float16"),
        (dataclasses.replace(file.plan, profiles=profiles), "in profile 0 the shapes"),
    ]:
        with pytest.raises(BackendError, match=f"differs from its entry.*{reason}"):
            open_plan(PlanFile(plan, file.path))


def load(bundle: Bundle, **options: object) -> None:
    load_device_encoder(bundle, RecognizerOptions(**options), "tensorrt").close()


def entry(bundle: Bundle, **changes: object) -> Bundle:
    """Change the entries of the plans."""
    changed = tuple(dataclasses.replace(plan, **changes) for plan in bundle.manifest.plans)
    return Bundle(bundle.path, dataclasses.replace(bundle.manifest, plans=changed), verify=True)


def test_unfit_plans_are_rejected_with_the_reason(sim, bundle: Bundle) -> None:
    load(bundle)
    before = sim.usage()
    with pytest.raises(NoPlan, match=r"no plan of tensorrt: build them with mms-export --engine"):
        load(entry(bundle, runtime="tensorrt-rtx"))
    with pytest.raises(BackendError, match=r"was built by tensorrt 8\.6\.1, not 10\.99\.0"):
        load(entry(bundle, runtime_version="8.6.1"))
    with pytest.raises(BackendError, match=r"for compute capability 9\.0, this GPU has 8\.6; bu"):
        load(entry(bundle, compute_capabilities=("9.0",)))
    with pytest.raises(BackendError, match=r"in other precisions"):
        load(bundle, precision="bf16")
    assert (sim.usage().streams, sim.usage().events) == (before.streams, before.events)


def test_plan_too_small_for_the_vocabularies_is_rejected(sim, bundle: Bundle) -> None:
    data = {
        code: dataclasses.replace(entry, vocab_size=4_000)
        for code, entry in bundle.manifest.data.items()
    }
    manifest = dataclasses.replace(bundle.manifest, data=data)
    before = sim.usage().allocations
    with pytest.raises(BackendError, match=r"vocabularies are smaller than the 4000 tokens"):
        load(Bundle(bundle.path, manifest, verify=True))
    assert sim.usage().allocations == before


def test_damaged_plan_is_rejected(sim, bundle: Bundle) -> None:
    from mms_engine.errors import BundleError

    file = plan_of(bundle, "step")
    file.path.write_bytes(file.path.read_bytes() + b" ")
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() != file.plan.file.sha256
    with pytest.raises(BundleError):
        load(bundle)


def test_missing_runtime_is_an_error_with_the_remedy(sim) -> None:
    import sys

    sys.modules["tensorrt_rtx"] = None  # type: ignore[assignment]
    try:
        with pytest.raises(BackendError, match=r"tensorrt_rtx cannot be used: .*run mms doctor"):
            open_toolkit("tensorrt-rtx")
    finally:
        del sys.modules["tensorrt_rtx"]


def test_stand_in_refuses_runs_without_profile_shapes_or_addresses(opened, bundle: Bundle) -> None:
    session = opened(bundle, "frontend")
    session.run(AUDIO)
    stream, take_message = session.stream.handle, session._lanes.plan.toolkit.take_message
    with open_device().active("testing"):
        other = session._lanes.plan.engine.create_execution_context()
        assert not other.set_optimization_profile_async(9, stream)
        assert take_message().endswith("no profile 9")
        assert other.set_optimization_profile_async(0, stream), "contexts share a profile"
        assert not other.execute_async_v3(stream)
        assert take_message().endswith("no shape for audio")
        assert other.update_device_memory_size_for_shapes() == 0
        assert other.set_input_shape("audio", AUDIO["audio"].shape)
        assert not other.execute_async_v3(stream)
        assert take_message().endswith("no address for audio, features")
        del other


def test_two_unordered_runs_of_a_context_are_a_fault(opened, sim, bundle: Bundle) -> None:
    session = opened(bundle, "frontend")
    session.run(AUDIO)
    (lane,) = session._lanes._lanes.values()
    with open_device().active("testing"):
        other = CudaStream(open_device())
        assert lane._context.execute_async_v3(session.stream.handle)
        assert lane._context.execute_async_v3(other.handle)
        sim.expect_fault("race: execute_async_v3 and execute_async_v3")
        other.free()


def test_closed_session_returns_the_memory_of_its_weights(sim, bundle: Bundle) -> None:
    before = sim.usage().bytes
    session = open_plan(rewrite(bundle, "frontend", weight_bytes=1_000))
    assert sim.usage().bytes == before + 1_000
    session.close()
    del session
    assert sim.usage().bytes == before


def test_run_beyond_its_buffer_loses_the_device(sim, bundle: Bundle) -> None:
    """Last: the context does not survive it."""
    session, device = open_plan(plan_of(bundle, "frontend")), open_device()
    session.run(AUDIO)
    with (
        pytest.raises(DeviceLostError, match=r"was lost while testing.*restart it"),
        device.active("testing"),
    ):
        audio = DeviceArray.empty(device, (2, 32_080), np.float32)
        small = DeviceArray.empty(device, (4,), np.float32)
        features = dataclasses.replace(small, shape=(2, 100, 16))
        session.enqueue(0, {"audio": audio}, {"features": features})
        session.stream.synchronize()
    sim.expect_fault("execute_async_v3: 12800 bytes from byte 0 of .* of 16 bytes do not fit")
    with pytest.raises(DeviceLostError, match=r"was lost while running frontend"):
        session.run(AUDIO)
    with pytest.raises(DeviceLostError):
        session.close()
