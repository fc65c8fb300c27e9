"""Speech on the simulated GPU: samples equal those of the fp16 graphs on the CPU."""

import dataclasses
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gpu_sim import bundles
from mms_engine import SpeechOptions, Synthesizer
from mms_engine.backends.options import with_given
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import MANIFEST, File, Manifest, encode
from mms_engine.bundle.voices import load_voice, save_voice
from mms_engine.errors import BackendError, BundleCorrupt, DeviceMemoryError
from mms_engine.tensorrt.choose import NoPlan
from mms_engine.tensorrt.session import TensorRtSession
from mms_engine.tts.chunks import margin_frames
from mms_engine.tts.options import SynthesizerOptions
from mms_export.tensorrt.options import USES
from tiny_voices import STRANGER, make_tiny_voices, make_voice

CODES = ("eng", "swh", "yor")
OPTIONS = SynthesizerOptions(backend="tensorrt", threads=1)
PLAIN = SpeechOptions(short_letters=0)
SENTENCES = ("a fig", "abide by the code and the habit", "he faced a cabbage dish " * 3)
HALF = 2e-3
"""Error of float16 in the samples of the tiny voices, of which the loudest is 0.1 or more."""
pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = make_tiny_voices(tmp_path_factory.mktemp("tiny") / "mms-tts", CODES)
    out = tmp_path_factory.mktemp("bundle") / "tts"
    return bundles.add_plans(bundles.export(str(checkpoint), out))


@pytest.fixture
def folder(voices: Path, tmp_path: Path) -> Path:
    """Modifiable copy of the bundle."""
    return shutil.copytree(voices, tmp_path / "tts")


@pytest.fixture
def on_gpu(sim, voices: Path) -> Iterator[Callable[..., Synthesizer]]:
    """Open synthesizers on the simulated GPU; closing them must leave nothing alive."""
    made: list[Synthesizer] = []

    def build(bundle: Path = voices, **options: object) -> Synthesizer:
        made.append(Synthesizer.open(bundle, options=with_given(OPTIONS, **options)))
        return made[-1]

    yield build
    for synthesizer in made:
        synthesizer.close()
    assert_nothing_is_alive(sim)


def assert_nothing_is_alive(sim) -> None:
    left = sim.usage()
    assert (left.allocations, left.host_ranges, left.graphs, left.operations) == (0, 0, 0, 0)
    assert (left.streams, left.events) == (0, 0)


@pytest.fixture(scope="module")
def on_cpu(voices: Path) -> Iterator[Synthesizer]:
    with Synthesizer.open(voices, device="cpu", precision="fp16", threads=1) as opened:
        yield opened


def spoken(synthesizer: Synthesizer, text: str, code: str, **options: float) -> np.ndarray:
    return synthesizer.synthesize(text, code, options=PLAIN, **options).samples


def assert_equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 50 * HALF
    np.testing.assert_allclose(found, expected, atol=HALF)


def test_samples_equal_the_cpu(on_gpu, on_cpu: Synthesizer, sim) -> None:
    synthesizer = on_gpu()
    sim.order(seed=3, slow_copies=True)
    for _ in range(3):  # plain, captured, replayed
        for code in CODES:
            for text in SENTENCES[:2]:
                assert_equal(spoken(synthesizer, text, code), spoken(on_cpu, text, code))
    assert sim.usage().graphs > 0
    assert synthesizer._models.main.bank.keys == CODES


def test_samples_are_near_those_of_float32(on_gpu, voices: Path) -> None:
    quiet = dataclasses.replace(PLAIN, noise_scale=0, noise_scale_duration=0)
    with Synthesizer.open(voices, device="cpu", precision="fp32", threads=1) as exact:
        expected = exact.synthesize(SENTENCES[1], "swh", options=quiet).samples
    assert_equal(on_gpu().synthesize(SENTENCES[1], "swh", options=quiet).samples, expected)


@pytest.mark.parametrize("speed", [0.5, 1.0])
def test_joined_chunks_equal_one_run(on_gpu, speed: float) -> None:
    synthesizer, text = on_gpu(), SENTENCES[2]
    chunks = [chunk.samples for chunk in synthesizer.speak(text, "eng", options=PLAIN, speed=speed)]
    assert len(chunks) > 4
    synthesis = synthesizer._models.main.synthesis
    synthesis._shape = dataclasses.replace(synthesis._shape, margin=1 << 30)
    assert_equal(np.concatenate(chunks), spoken(synthesizer, text, "eng", speed=speed))


def test_sentence_beyond_the_plan_is_computed_in_parts(on_gpu, on_cpu: Synthesizer) -> None:
    synthesizer, text = on_gpu(), SENTENCES[1]
    margin = margin_frames(synthesizer.bundle.manifest.model)
    most = synthesizer._models.main.graphs.most_frames = 3 * margin
    expected = spoken(on_cpu, text, "yor", speed=0.25)
    assert expected.size / 8 > 5 * (most - 2 * margin), "the sentence takes many parts"
    assert_equal(spoken(synthesizer, text, "yor", speed=0.25), expected)


def test_voices_are_switched_and_evicted(on_gpu, on_cpu: Synthesizer, sim) -> None:
    synthesizer = on_gpu(voice_cache_bytes=0)
    text = SENTENCES[1]
    for _ in range(2):
        for code in CODES:
            assert_equal(spoken(synthesizer, text, code), spoken(on_cpu, text, code))
            assert synthesizer._models.main.bank.keys == (code,)
    held = sim.usage().bytes
    addresses = [
        array.address for array in synthesizer._models.main.bank.storage.arrays(0).values()
    ]
    for code in CODES:
        spoken(synthesizer, text, code)
        found = [
            array.address for array in synthesizer._models.main.bank.storage.arrays(0).values()
        ]
        assert found == addresses, "CUDA graphs hold them"
    assert sim.usage().bytes == held


def test_threads_share_one_slot_and_the_plans(on_gpu, on_cpu: Synthesizer, sim) -> None:
    synthesizer = on_gpu(voice_cache_bytes=0)
    sim.order(seed=11, slow_copies=True)
    work = [(text, code) for text in SENTENCES[:2] for code in CODES] * 2
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: spoken(synthesizer, *one), work))
    for samples, one in zip(found, work, strict=True):
        assert_equal(samples, spoken(on_cpu, *one))


def test_voices_speak_beside_each_other(
    on_gpu, on_cpu: Synthesizer, sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A voice whose run of the decoder hangs keeps no other voice from speaking."""
    synthesizer, text = on_gpu(), SENTENCES[1]
    alone = sim.usage().streams
    assert_equal(spoken(synthesizer, text, "eng"), spoken(on_cpu, text, "eng"))
    assert sim.usage().streams == alone, "who speaks alone pays for one session"
    reached, go_on = threading.Event(), threading.Event()
    enqueue = TensorRtSession.enqueue

    def held(session: TensorRtSession, *arguments: object) -> None:
        enqueue(session, *arguments)
        hangs = threading.current_thread().name == "hangs_0"
        if hangs and "features" in {tensor.name for tensor in session.inputs}:
            reached.set()
            assert go_on.wait(120)

    monkeypatch.setattr(TensorRtSession, "enqueue", held)
    with ThreadPoolExecutor(1, "hangs") as pool:
        hanging = pool.submit(spoken, synthesizer, text, "swh")
        assert reached.wait(120)
        try:
            assert_equal(spoken(synthesizer, text, "yor"), spoken(on_cpu, text, "yor"))
            assert_equal(spoken(synthesizer, text, "swh"), spoken(on_cpu, text, "swh"))
            assert not hanging.done()
            assert sim.usage().streams == alone + 1, "a second session of the decoder"
        finally:
            go_on.set()
        assert_equal(hanging.result(), spoken(on_cpu, text, "swh"))


def test_without_room_for_another_session_voices_take_turns(
    on_gpu, on_cpu: Synthesizer, sim, caplog: pytest.LogCaptureFixture
) -> None:
    synthesizer = on_gpu()
    work = [(SENTENCES[1], code) for code in CODES] * 2
    expected = [spoken(on_cpu, *one) for one in work]
    spoken(synthesizer, "a fig", "eng")
    sim.fail("cuStreamCreate", times=1000, code=2)
    start = threading.Barrier(len(work))

    def speak(one: tuple[str, str]) -> np.ndarray:
        start.wait()
        return spoken(synthesizer, *one)

    with ThreadPoolExecutor(len(work)) as pool:
        found = list(pool.map(speak, work))
    for samples, one in zip(found, expected, strict=True):
        assert_equal(samples, one)
    assert "voices take turns on the GPU from now on: Simulated GPU is out of" in caplog.text


def test_voice_of_other_sizes_speaks_with_its_own_plans(
    sim, on_gpu, tmp_path: Path, voices: Path
) -> None:
    folder = make_tiny_voices(tmp_path / "mms-tts", ("eng", "yor"))
    make_voice(folder / "hau", "hau", seed=7, **STRANGER)
    bundle = bundles.add_plans(bundles.export(str(folder), tmp_path / "mixed"))
    synthesizer = on_gpu(bundle)
    with Synthesizer.open(bundle, device="cpu", precision="fp16", threads=1) as on_cpu:
        for code in ("hau", "eng", "hau", "yor"):
            for text in SENTENCES[:2]:
                assert_equal(spoken(synthesizer, text, code), spoken(on_cpu, text, code))
    assert synthesizer._models.of("hau").graphs.device == "cuda"


def test_closed_synthesizer_is_refused_and_leaves_nothing(sim, voices: Path) -> None:
    synthesizer = Synthesizer.open(voices, options=OPTIONS)
    chunks = synthesizer.speak(SENTENCES[2], "eng")
    next(chunks)
    synthesizer.close()
    synthesizer.close()
    with pytest.raises(BackendError, match="closed"):
        list(chunks)
    with pytest.raises(BackendError, match="closed"):
        spoken(synthesizer, "a fig", "yor")
    assert_nothing_is_alive(sim)


def write(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_bytes(encode(manifest))


def test_damaged_plan_is_refused_and_leaves_nothing(sim, folder: Path) -> None:
    flow = next(plan for plan in open_bundle(folder).manifest.plans if plan.graph == "flow")
    path = folder / flow.file.path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleCorrupt):
        Synthesizer.open(folder, options=OPTIONS)
    path.write_bytes(b"nothing")
    file = File(path=flow.file.path, sha256=hashlib.sha256(b"nothing").hexdigest(), size=7)
    manifest = open_bundle(folder).manifest
    plans = [dataclasses.replace(p, file=file) if p.graph == "flow" else p for p in manifest.plans]
    write(folder, dataclasses.replace(manifest, plans=tuple(plans)))
    with pytest.raises(BackendError, match=r"could not read the plan: .*magic tag"):
        Synthesizer.open(folder, options=OPTIONS)
    assert_nothing_is_alive(sim)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"compute_capabilities": ("9.0",)}, r"for compute capability 9\.0, this GPU has 8\.6"),
        ({"runtime_version": "8.6.1"}, r"was built by tensorrt 8\.6\.1, not 10\.99\.0"),
        ({"runtime": "tensorrt-rtx"}, "no plan of tensorrt: build them with mms-export --engine"),
    ],
)
def test_without_a_plan_for_this_gpu_the_cpu_speaks(
    sim, folder: Path, changes: dict[str, object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    bundles.add_plans(folder, **changes)
    with pytest.raises(BackendError, match=reason):
        Synthesizer.open(folder, options=OPTIONS)
    with caplog.at_level("INFO"), Synthesizer.open(folder, precision="fp16", threads=1) as opened:
        assert opened._models.main.graphs.device == "cpu"
        assert spoken(opened, "a fig", "eng").size
    assert "tensorrt was tried first and cannot run" in caplog.text
    assert_nothing_is_alive(sim)


def test_plan_too_small_for_the_voices_is_refused(sim, folder: Path) -> None:
    short = dataclasses.replace(USES["streaming"], seconds=(0.001, 0.01, 0.02))
    bundles.add_plans(folder, uses=(short,))
    with pytest.raises(BackendError, match="covers 40 frames, too few for speech"):
        Synthesizer.open(folder, options=OPTIONS)
    bundles.add_plans(folder)
    manifest = open_bundle(folder).manifest
    large = {code: dataclasses.replace(e, vocab_size=900) for code, e in manifest.data.items()}
    write(folder, dataclasses.replace(manifest, data=large))
    with pytest.raises(BackendError, match="vocabularies are smaller than the 900 tokens"):
        Synthesizer.open(folder, options=OPTIONS)
    assert_nothing_is_alive(sim)


def test_voice_larger_than_the_manifest_says_is_refused(on_gpu, folder: Path) -> None:
    path = folder / "voices" / "yor.safetensors"
    held = load_voice(path)
    tensors = dict(held.tensors)
    name = "text_encoder.embed_tokens.weight"
    tensors[name] = np.concatenate([tensors[name]] * 2)
    save_voice(path, tensors, held.voice)
    manifest = open_bundle(folder).manifest
    content = path.read_bytes()
    file = dataclasses.replace(
        manifest.data["yor"].file, sha256=hashlib.sha256(content).hexdigest(), size=len(content)
    )
    entry = dataclasses.replace(manifest.data["yor"], file=file)
    write(folder, dataclasses.replace(manifest, data={**manifest.data, "yor": entry}))
    synthesizer = on_gpu(folder)
    with pytest.raises(BundleCorrupt, match="more than the manifest says"):
        spoken(synthesizer, "a fig", "yor")
    assert spoken(synthesizer, "a fig", "eng").size


def test_memory_that_runs_out_is_an_error_and_nothing_more(
    on_gpu, on_cpu: Synthesizer, sim
) -> None:
    synthesizer = on_gpu()
    sim.out_of_memory(times=2)
    with pytest.raises(DeviceMemoryError, match=r"copying the voice eng.*voice_cache_bytes"):
        spoken(synthesizer, "a fig", "eng")
    sim.reset()
    assert_equal(spoken(synthesizer, "a fig", "eng"), spoken(on_cpu, "a fig", "eng"))


def test_no_plan_is_not_an_error_of_a_plan(sim, folder: Path) -> None:
    write(folder, dataclasses.replace(open_bundle(folder).manifest, plans=()))
    with pytest.raises(BackendError, match="no plan of tensorrt") as caught:
        Synthesizer.open(folder, options=OPTIONS)
    assert isinstance(caught.value.__cause__, NoPlan)
