"""Streams on the simulated GPU: equal text to the CPU backend, and no leak of device memory."""

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_sim import bundles
from mms_engine import BeamSearch, Recognizer
from mms_engine.asr.pool import PoolOptions
from mms_engine.asr.streaming import ContextOptions, StreamOptions
from mms_engine.bundle import open_bundle
from mms_engine.errors import BackendError, DeviceMemoryError, StreamError
from stream_sounds import RATE, cut, finals, run, speech, texts

LANGUAGES = ("eng", "spa", "fra", "ita", "rus")
SOUND = speech("eng", pause=0.3)[: 9 * RATE]


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = bundles.export("demo", tmp_path_factory.mktemp("bundle") / "demo")
    return bundles.add_plans(folder)


@pytest.fixture(scope="module")
def cpu(demo: Path) -> Recognizer:
    return Recognizer.open(demo, device="cpu", precision="fp16")


@pytest.fixture
def gpu(on_gpu, demo: Path) -> Recognizer:
    return on_gpu(demo)


def sizes(kind: str, left: float = 1.0, chunk: float = 0.32, right: float = 0.16) -> StreamOptions:
    context = ContextOptions(kind=kind, left_seconds=left, chunk_seconds=chunk, right_seconds=right)
    return StreamOptions(context=context)


def caches(recognizer: Recognizer) -> int:
    """Return the number of KV caches on the device."""
    steps = recognizer._model.encoder._steps
    return len(steps._caches._alive) if steps else 0


def caches_become(count: int, recognizer: Recognizer) -> bool:
    """Return whether the pool's threads free all but `count` KV caches."""
    deadline = time.monotonic() + 20
    while caches(recognizer) != count and time.monotonic() < deadline:
        time.sleep(0.01)
    return caches(recognizer) == count


@pytest.mark.parametrize("latency", ["low", "balanced", "accurate"])
def test_text_equals_that_of_the_cpu(gpu, cpu, latency: str) -> None:
    options = StreamOptions(latency=latency)
    expected = texts(run(cpu.stream("eng", options), [SOUND]))
    assert len("".join(text for text, _, _ in expected)) > 20
    assert texts(run(gpu.stream("eng", options), [SOUND])) == expected
    assert caches(gpu) == 0


def test_windows_run_on_the_same_plan(gpu, cpu) -> None:
    options = sizes("window", left=3.0)
    expected = texts(run(cpu.stream("fra", options), [SOUND]))
    assert texts(run(gpu.stream("fra", options), [SOUND])) == expected


def test_steps_and_recordings_share_a_profile(on_gpu, demo: Path, cpu, tmp_path: Path) -> None:
    """Plans of TensorRT for RTX are built so."""
    folder = bundles.add_plans(Path(shutil.copytree(demo, tmp_path / "joined")), joined=True)
    (plan,) = [plan for plan in open_bundle(folder).manifest.plans if plan.graph == "step"]
    assert [profile.name for profile in plan.profiles] == ["steps, offline", "long"]
    gpu = on_gpu(folder)
    for options in (StreamOptions(latency="balanced"), sizes("window", left=3.0)):
        expected = texts(run(cpu.stream("eng", options), [SOUND]))
        assert texts(run(gpu.stream("eng", options), [SOUND])) == expected
    sounds = [speech(language) for language in LANGUAGES]
    ours, expected = (one.transcribe(sounds, LANGUAGES) for one in (gpu, cpu))
    assert [one.text for one in ours] == [one.text for one in expected]


@pytest.mark.parametrize(("left", "chunk"), [(0.3, 0.2), (0.1, 0.4), (0.0, 0.2), (1.0, 0.34)])
def test_caches_wrap_at_any_slot(gpu, cpu, left: float, chunk: float) -> None:
    options = sizes("cached", left, chunk)
    expected = texts(run(cpu.stream("eng", options), [SOUND[: 5 * RATE]]))
    assert texts(run(gpu.stream("eng", options), [SOUND[: 5 * RATE]])) == expected


@pytest.mark.parametrize("seed", [None, 3])
def test_pool_of_mixed_languages_and_sizes_equals_single_streams(
    gpu, cpu, sim, seed: int | None
) -> None:
    if seed is not None:
        sim.order(seed=seed, slow_copies=True)
    kinds = ["low", "balanced", "accurate"]
    chosen = [StreamOptions(latency=kinds[i % 3]) for i in range(9)]
    chosen += [sizes("window"), sizes("window", left=4.0)]
    sounds = [speech(LANGUAGES[i % 5], seed=i)[: (3 + i % 3) * RATE] for i in range(11)]
    with gpu.pool(PoolOptions(admission=False)) as pool:
        members = [pool.open(LANGUAGES[i % 5], chosen[i]) for i in range(11)]
        for member, sound in zip(members, sounds, strict=True):
            for piece in cut(sound, [7_001] * 99):
                member.feed(piece)
            member.finish()
        for i, member in enumerate(members):
            alone = run(cpu.stream(LANGUAGES[i % 5], chosen[i]), [sounds[i]])
            assert texts(member.events(timeout=120)) == texts(alone), i
        assert caches_become(0, gpu)


def test_runs_are_bounded_by_the_copies_of_caches(gpu, cpu, monkeypatch) -> None:
    monkeypatch.setattr("mms_engine.encoder.device.steps._CACHE_BYTES", 3 << 20)
    with gpu.pool(PoolOptions(admission=False)) as pool:
        members = [pool.open(language) for language in LANGUAGES]
        for member in members:
            member.feed(SOUND[: 3 * RATE])
            member.finish()
        for language, member in zip(LANGUAGES, members, strict=True):
            expected = run(cpu.stream(language), [SOUND[: 3 * RATE]])
            assert texts(member.events(timeout=60)) == texts(expected)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(160, 40_000), min_size=1, max_size=5))
def test_text_does_not_depend_on_cuts(gpu, cpu, cuts: list[int]) -> None:
    sound, options = SOUND[: 4 * RATE], sizes("cached")
    expected = finals(run(gpu.stream("eng", options), [sound]))
    assert finals(run(gpu.stream("eng", options), cut(sound, cuts * 999))) == expected


def test_saved_stream_continues_on_either_device(gpu, cpu) -> None:
    options = sizes("cached")
    expected = texts(run(cpu.stream("eng", options), [SOUND]))
    for first, second in ((gpu, gpu), (gpu, cpu), (cpu, gpu)):
        stream = first.stream("eng", options)
        with stream:
            events = stream.feed(SOUND[: 4 * RATE + 77])
            state = stream.save()
        events += run(second.restore_stream(state), [SOUND[4 * RATE + 77 :]])
        assert texts(events) == expected
    assert caches(gpu) == 0


def test_failed_step_runs_again(gpu, cpu, monkeypatch) -> None:
    options, stream = sizes("cached", left=0.5), gpu.stream("eng", sizes("cached", left=0.5))
    encode, calls = stream._model.encode, []

    def sometimes(rows, languages):
        encoded = encode(rows, languages)  # its output is lost
        calls.append(1)
        if len(calls) % 3 == 0:
            raise BackendError("the device is busy")
        return encoded

    monkeypatch.setattr(stream._model, "encode", sometimes)
    events = []
    for piece in cut(SOUND, [RATE // 10] * 999):
        try:
            events += stream.feed(piece)
        except BackendError:
            events += stream.feed(b"")
    monkeypatch.undo()
    events += stream.finish()
    assert texts(events) == texts(run(cpu.stream("eng", options), [SOUND]))


def test_ended_streams_free_their_memory(gpu, sim) -> None:
    run(gpu.stream("eng"), [SOUND[:RATE]])  # makes the buffers of the runs
    before = sim.usage().allocations
    with gpu.stream("eng") as stream:
        assert sim.usage().allocations == before + 1
        stream.feed(SOUND[:RATE])
    assert sim.usage().allocations == before
    with gpu.pool(PoolOptions(admission=False)) as pool:
        cancelled, failed = pool.open("eng"), pool.open("spa")
        failed._core.read = lambda *_: 1 / 0
        for member in (cancelled, failed):
            member.feed(SOUND[: 2 * RATE])
        cancelled.cancel()
        with pytest.raises(BackendError, match="division by zero"):
            list(failed.events(timeout=60))
        pool.open("fra").feed(SOUND[: 3 * RATE])
    assert caches(gpu) == 0
    dropped = gpu.stream("eng")
    del dropped  # never finished: freed when the next stream opens
    with gpu.stream("eng"):
        assert caches(gpu) == 1
    with pytest.raises(StreamError):
        gpu.restore_stream(b"no stream")


@pytest.mark.parametrize("failing", [False, True])
def test_stream_cancelled_during_a_step_keeps_its_cache_until_the_end_of_the_step(
    gpu, cpu, monkeypatch, failing: bool
) -> None:
    with gpu.pool(PoolOptions(admission=False)) as pool:
        other, leaving = pool.open("spa"), pool.open("eng")
        encode, held = pool._model.encode, []

        def cancelling(rows, languages):
            if "eng" not in languages:
                return encode(rows, languages)
            leaving.cancel()
            held.append(caches(gpu))
            if failing:
                raise BackendError("the device is busy")
            return encode(rows, languages)

        monkeypatch.setattr(pool._model, "encode", cancelling)
        leaving.feed(SOUND[: 2 * RATE])
        while not held:
            time.sleep(0.01)
        other.feed(SOUND[: 3 * RATE])
        other.finish()
        expected = texts(run(cpu.stream("spa"), [SOUND[: 3 * RATE]]))
        assert texts(other.events(timeout=60)) == expected
        assert held[0] == 2
        assert caches_become(0, gpu)


def test_cancel_does_not_wait_for_the_device(gpu) -> None:
    with gpu.pool(PoolOptions(admission=False)) as pool:
        member = pool.open("eng")
        with gpu._model.encoder._steps._on_stream("running a batch"):
            cancelling = threading.Thread(target=member.cancel, daemon=True)
            cancelling.start()
            cancelling.join(20)
            assert not cancelling.is_alive()
            assert caches(gpu) == 1
        assert caches_become(0, gpu)


def test_out_of_memory_refuses_one_stream_alone(gpu, cpu, sim) -> None:
    with gpu.pool(PoolOptions(admission=False)) as pool:
        member = pool.open("eng")
        sim.out_of_memory(times=2)
        with pytest.raises(DeviceMemoryError, match="while allocating the KV cache of a stream"):
            pool.open("eng")
        assert (len(pool), caches(gpu)) == (1, 1)
        member.feed(SOUND[: 3 * RATE])
        member.finish()
        expected = texts(run(cpu.stream("eng"), [SOUND[: 3 * RATE]]))
        assert texts(member.events(timeout=60)) == expected


def test_context_outside_the_profiles_is_refused_when_opened(gpu) -> None:
    for left, chunk in ((20.0, 0.64), (5.0, 4.0)):
        with pytest.raises(BackendError, match="no profile of the plan covers"):
            gpu.stream("eng", sizes("cached", left, chunk))
    assert caches(gpu) == 0


def test_measuring_capacity_leaves_no_cache(gpu) -> None:
    with gpu.pool() as pool:
        assert "such streams" in pool.describe_capacity("eng", sizes("cached", left=0.5))
        assert caches(gpu) == 0


def test_beam_search_equals_that_of_the_cpu(on_gpu, demo: Path) -> None:
    beam = BeamSearch(beam_size=8)
    host = Recognizer.open(demo, device="cpu", precision="fp16", beam=beam)
    expected = texts(run(host.stream("eng"), [SOUND[: 4 * RATE]]))
    assert texts(run(on_gpu(demo, beam=beam).stream("eng"), [SOUND[: 4 * RATE]])) == expected


def test_stream_of_a_closed_recogniser_is_an_error(on_gpu, demo: Path) -> None:
    recognizer = on_gpu(demo)
    stream = recognizer.stream("eng")
    recognizer.close()
    with pytest.raises(BackendError, match="the model is closed"):
        stream.feed(SOUND[:RATE])


def test_columns_that_do_not_fit_are_refused(context) -> None:
    from mms_engine.cuda.context import open_device
    from mms_engine.cuda.memory import DeviceArray
    from mms_engine.cuda.streams import CudaStream

    device = open_device()
    with device.active("a test"):
        stream = CudaStream(device)
        wide, slim = (DeviceArray.empty(device, (3, n), np.uint16) for n in (5, 2))
        host = np.arange(15, dtype=np.uint16).reshape(3, 5)
        stream.upload(wide, host)
        stream.copy_columns(slim, 0, wide, 3, 2)
        stream.copy_columns(slim, 2, wide, 5, 0)
        found = np.empty((3, 2), np.uint16)
        stream.download(found, slim)
        stream.synchronize()
        assert found.tolist() == host[:, 3:].tolist()
        for to, start, count in ((1, 0, 2), (0, 4, 2), (-1, 0, 1), (0, -1, 1)):
            with pytest.raises(ValueError, match="columns"):
                stream.copy_columns(slim, to, wide, start, count)
        with pytest.raises(ValueError, match="do not go into"):
            stream.copy_columns(slim, 0, wide.rows(0, 2), 0, 1)
        wide.free()
        slim.free()
        stream.free()
