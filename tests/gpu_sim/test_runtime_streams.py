"""Streams on the simulated GPU: the text is that of the CPU backend, memory is given back."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_sim import bundles
from mms_engine import BeamSearch, Recognizer, RecognizerOptions
from mms_engine.asr.pool import PoolOptions
from mms_engine.asr.streaming import ContextOptions, StreamOptions
from mms_engine.errors import BackendError, DeviceMemoryError, StreamError
from stream_sounds import RATE, cut, hear, said, speech, texts

LANGUAGES = ("eng", "spa", "fra", "ita", "rus")
SOUND = speech("eng", pause=0.3)[: 9 * RATE]


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = bundles.export("demo", tmp_path_factory.mktemp("bundle") / "demo")
    return bundles.add_plans(folder, streams=True)


@pytest.fixture(scope="module")
def cpu(demo: Path) -> Recognizer:
    return Recognizer.open(demo, RecognizerOptions(device="cpu", precision="fp16"))


@pytest.fixture
def gpu(on_gpu, demo: Path) -> Recognizer:
    return on_gpu(demo)


def sizes(kind: str, left: float = 1.0, chunk: float = 0.32, right: float = 0.16) -> StreamOptions:
    context = ContextOptions(kind=kind, left_seconds=left, chunk_seconds=chunk, right_seconds=right)
    return StreamOptions(context=context)


def memories(recognizer: Recognizer) -> int:
    """Return how many streams have memory on the device."""
    runner = recognizer._model.encoder._runner
    return len(runner._memories._alive) if runner else 0


@pytest.mark.parametrize("latency", ["low", "balanced", "accurate"])
def test_a_stream_reads_as_on_the_cpu(gpu, cpu, latency: str) -> None:
    options = StreamOptions(latency=latency)
    expected = texts(hear(cpu.stream("eng", options), [SOUND]))
    assert len("".join(text for text, _, _ in expected)) > 20
    assert texts(hear(gpu.stream("eng", options), [SOUND])) == expected
    assert memories(gpu) == 0


def test_windows_run_on_the_plan_of_the_encoder(gpu, cpu) -> None:
    options = sizes("window", left=3.0)
    expected = texts(hear(cpu.stream("fra", options), [SOUND]))
    assert texts(hear(gpu.stream("fra", options), [SOUND])) == expected


@pytest.mark.parametrize(("left", "chunk"), [(0.3, 0.2), (0.1, 0.4), (0.0, 0.2), (1.0, 0.34)])
def test_rings_that_wrap_at_any_place(gpu, cpu, left: float, chunk: float) -> None:
    options = sizes("cached", left, chunk)
    expected = texts(hear(cpu.stream("eng", options), [SOUND[: 5 * RATE]]))
    assert texts(hear(gpu.stream("eng", options), [SOUND[: 5 * RATE]])) == expected


@pytest.mark.parametrize("seed", [None, 3])
def test_among_others_of_mixed_languages_and_sizes(gpu, cpu, sim, seed: int | None) -> None:
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
            alone = hear(cpu.stream(LANGUAGES[i % 5], chosen[i]), [sounds[i]])
            assert texts(member.events(timeout=120)) == texts(alone), i
        assert memories(gpu) == 0


def test_a_run_takes_no_more_rings_than_have_room(gpu, cpu, monkeypatch) -> None:
    monkeypatch.setattr("mms_engine.encoder.device.steps._CACHE_BYTES", 3 << 20)
    with gpu.pool(PoolOptions(admission=False)) as pool:
        members = [pool.open(language) for language in LANGUAGES]
        for member in members:
            member.feed(SOUND[: 3 * RATE])
            member.finish()
        for language, member in zip(LANGUAGES, members, strict=True):
            expected = hear(cpu.stream(language), [SOUND[: 3 * RATE]])
            assert texts(member.events(timeout=60)) == texts(expected)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(160, 40_000), min_size=1, max_size=5))
def test_the_text_does_not_depend_on_the_cuts(gpu, cpu, cuts: list[int]) -> None:
    sound, options = SOUND[: 4 * RATE], sizes("cached")
    expected = said(hear(gpu.stream("eng", options), [sound]))
    assert said(hear(gpu.stream("eng", options), cut(sound, cuts * 999))) == expected


def test_a_stream_goes_on_where_it_was_saved(gpu, cpu) -> None:
    """On another device, too: keys and values are of the same type."""
    options = sizes("cached")
    expected = texts(hear(cpu.stream("eng", options), [SOUND]))
    for first, second in ((gpu, gpu), (gpu, cpu), (cpu, gpu)):
        stream = first.stream("eng", options)
        with stream:
            events = stream.feed(SOUND[: 4 * RATE + 77])
            state = stream.save()
        events += hear(second.restore_stream(state), [SOUND[4 * RATE + 77 :]])
        assert texts(events) == expected
    assert memories(gpu) == 0


def test_a_step_that_fails_may_be_asked_for_again(gpu, cpu, monkeypatch) -> None:
    options, stream = sizes("cached", left=0.5), gpu.stream("eng", sizes("cached", left=0.5))
    encode, calls = stream._model.encode, []

    def sometimes(rows, languages):
        encoded = encode(rows, languages)  # it ran, and nobody hears of it
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
    assert texts(events) == texts(hear(cpu.stream("eng", options), [SOUND]))


def test_whoever_leaves_gives_memory_back(gpu, sim) -> None:
    hear(gpu.stream("eng"), [SOUND[:RATE]])  # makes the buffers of the runs
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
    assert memories(gpu) == 0
    dropped = gpu.stream("eng")
    del dropped  # nobody finished it: the next one frees it
    with gpu.stream("eng"):
        assert memories(gpu) == 1
    with pytest.raises(StreamError):
        gpu.restore_stream(b"no stream")


@pytest.mark.parametrize("failing", [False, True])
def test_a_stream_cancelled_in_a_step_keeps_its_memory_until_that_is_done(
    gpu, cpu, monkeypatch, failing: bool
) -> None:
    with gpu.pool(PoolOptions(admission=False)) as pool:
        other, leaving = pool.open("spa"), pool.open("eng")
        encode, held = pool._model.encode, []

        def cancelling(rows, languages):
            if "eng" not in languages:
                return encode(rows, languages)
            leaving.cancel()
            held.append(memories(gpu))
            if failing:
                raise BackendError("the device is busy")
            return encode(rows, languages)

        monkeypatch.setattr(pool._model, "encode", cancelling)
        leaving.feed(SOUND[: 2 * RATE])
        while not held:
            time.sleep(0.01)
        other.feed(SOUND[: 3 * RATE])
        other.finish()
        expected = texts(hear(cpu.stream("spa"), [SOUND[: 3 * RATE]]))
        assert texts(other.events(timeout=60)) == expected
        assert held[0] == 2
        assert memories(gpu) == 0


def test_no_room_for_one_is_told_and_others_go_on(gpu, cpu, sim) -> None:
    with gpu.pool(PoolOptions(admission=False)) as pool:
        member = pool.open("eng")
        sim.out_of_memory(times=2)
        with pytest.raises(DeviceMemoryError, match="while making room for a stream"):
            pool.open("eng")
        assert (len(pool), memories(gpu)) == (1, 1)
        member.feed(SOUND[: 3 * RATE])
        member.finish()
        expected = texts(hear(cpu.stream("eng"), [SOUND[: 3 * RATE]]))
        assert texts(member.events(timeout=60)) == expected


def test_contexts_that_no_profile_takes_are_refused_at_once(gpu) -> None:
    for left, chunk in ((20.0, 0.64), (5.0, 4.0)):
        with pytest.raises(BackendError, match="no profile of the plan takes"):
            gpu.stream("eng", sizes("cached", left, chunk))
    assert memories(gpu) == 0


def test_the_capacity_is_measured_and_leaves_nothing(gpu) -> None:
    with gpu.pool() as pool:
        assert "such streams" in pool.sentence("eng", sizes("cached", left=0.5))
        assert memories(gpu) == 0


def test_streams_are_decoded_by_the_beam_too(on_gpu, demo: Path) -> None:
    options = {"decoder": "beam", "beam": BeamSearch(beam_size=8)}
    host = Recognizer.open(demo, RecognizerOptions(device="cpu", precision="fp16", **options))
    expected = texts(hear(host.stream("eng"), [SOUND[: 4 * RATE]]))
    assert texts(hear(on_gpu(demo, **options).stream("eng"), [SOUND[: 4 * RATE]])) == expected


def test_a_bundle_without_the_plan_says_how_to_build_it(on_gpu, cpu, demo: Path, tmp_path) -> None:
    folder = bundles.add_plans(shutil.copytree(demo, tmp_path / "demo"))
    recognizer = on_gpu(folder)
    with pytest.raises(BackendError, match=r"of the graph step .* --sm 86 .* --streams"):
        recognizer.stream("eng")
    expected = texts(hear(cpu.stream("eng", sizes("window")), [SOUND[: 3 * RATE]]))
    heard = hear(recognizer.stream("eng", sizes("window")), [SOUND[: 3 * RATE]])
    assert texts(heard) == expected


def test_a_stream_outlives_its_recogniser_only_as_an_error(on_gpu, demo: Path) -> None:
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
