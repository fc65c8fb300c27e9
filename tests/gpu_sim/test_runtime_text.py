"""Recognition on the simulated GPU: text and logits equal those of the fp16 graphs on the CPU."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path

import numpy as np
import pytest

from gpu_sim import bundles
from mms_engine import BeamSearch, Recognizer, RecognizerOptions
from mms_engine.audio import read_audio
from mms_engine.cuda.streams import CudaStream
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.windows import WindowOptions
from mms_engine.errors import BackendError, DeviceMemoryError
from mms_engine.tensorrt.execution import _LANES
from omnilingual_models import make_omniasr
from tiny_models import TinyOptions, make_plain, make_tiny

CLIPS = sorted((Path(__file__).parents[2] / "examples/demo/clips").glob("*.flac"))[::3]
LANGUAGES = [clip.name[:3] for clip in CLIPS]
SOAK_BATCHES = int(os.environ.get("MMS_SOAK_BATCHES", "200"))
pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return bundles.add_plans(bundles.export("demo", tmp_path_factory.mktemp("bundle") / "demo"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    checkpoint = make_tiny(tmp_path_factory.mktemp("checkpoint") / "tiny")
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    return bundles.add_plans(bundles.export(str(checkpoint), out))


def on_cpu(bundle: Path, **options: object) -> Recognizer:
    chosen = RecognizerOptions(device="cpu", precision="fp16", **options)
    return Recognizer.open(bundle, options=chosen)


def texts(recognizer: Recognizer, sounds: list, languages: list[str]) -> list[str]:
    return [transcript.text for transcript in recognizer.transcribe(sounds, languages)]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_text_of_mixed_languages_equals_the_cpu(on_gpu, sim, demo: Path, seed: int | None) -> None:
    if seed is not None:
        sim.order(seed=seed, slow_copies=True)
    clips = [str(clip) for clip in CLIPS]
    expected = on_cpu(demo).transcribe(clips, LANGUAGES)
    recognizer = on_gpu(demo)
    for _ in range(3 if seed is None else 1):  # plain, captured, replayed
        for ours, theirs in zip(recognizer.transcribe(clips, LANGUAGES), expected, strict=True):
            assert ours.text == theirs.text
            assert [word.start for word in ours.words] == [word.start for word in theirs.words]
            assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-4)
    assert seed is not None or sim.usage().graphs > 0


def test_beam_text_equals_the_cpu(on_gpu, demo: Path) -> None:
    clips = [str(clip) for clip in CLIPS[:3]]
    options = {"beam": BeamSearch(beam_size=8, nbest=2)}
    expected = texts(on_cpu(demo, **options), clips, LANGUAGES[:3])
    assert texts(on_gpu(demo, **options), clips, LANGUAGES[:3]) == expected


@pytest.mark.parametrize("beam", [None, BeamSearch(beam_size=4)], ids=["greedy", "beam"])
def test_logits_of_a_recording_stay_on_the_device(
    on_gpu, monkeypatch, tmp_path: Path, beam: BeamSearch | None
) -> None:
    """Of a large vocabulary they are 40 times the samples; tokens and their times come back."""
    bundle = bundles.add_plans(bundles.export(str(make_omniasr(tmp_path / "hub")), tmp_path / "b"))
    copied: list[tuple[int, ...]] = []
    for name in ("download", "download_columns"):
        real = getattr(CudaStream, name)

        def download(stream, target, source, real=real) -> None:
            copied.append(target.shape)
            real(stream, target, source)

        monkeypatch.setattr(CudaStream, name, download)
    recognizer = on_gpu(bundle, beam=beam)
    clip = read_audio(CLIPS[0]).samples
    (found,) = recognizer.transcribe([clip], language="mul")
    assert found.text
    frames = recognizer.acoustic.geometry.frames(len(clip))
    tokens = len(recognizer.acoustic.vocabulary("mul"))
    assert copied
    assert sum(map(prod, copied)) < frames * tokens / 4
    copied.clear()
    segments = [Segment(clip, "mul"), Segment(clip[:20_000], "swh")]
    logits = recognizer.acoustic.logits(segments)
    assert copied == [row.shape for row in logits], "each row's own frames and tokens"
    copied.clear()
    with recognizer.stream("swh") as stream:
        list(stream.feed(clip))
        stream.finish()
    assert copied
    assert max(shape[-1] for shape in copied) < tokens, "mul is in the bank, but not of the stream"


def test_beam_too_wide_for_the_device_falls_back_to_the_cpu(on_gpu, demo: Path, caplog) -> None:
    options = {"beam": BeamSearch(beam_size=129)}
    expected = texts(on_cpu(demo, **options), [str(CLIPS[0])], LANGUAGES[:1])
    assert texts(on_gpu(demo, **options), [str(CLIPS[0])], LANGUAGES[:1]) == expected
    assert "decoding on the CPU: a beam of 129 is not decoded on the GPU" in caplog.text


def test_one_slot_is_enough_for_many_languages(on_gpu, sim, demo: Path) -> None:
    sim.order(seed=5, slow_copies=True)
    clips = [str(clip) for clip in CLIPS]
    recognizer = on_gpu(demo, adapter_cache_bytes=1)
    assert recognizer._model.bank.slots == 1
    assert texts(recognizer, clips, LANGUAGES) == texts(on_cpu(demo), clips, LANGUAGES)


def test_windows_of_long_audio_are_decoded_in_order(on_gpu, demo: Path) -> None:
    clips = [str(clip) for clip in CLIPS[:3]]
    windows = WindowOptions(seconds=1.0, context_seconds=0.4)
    expected = texts(on_cpu(demo, windows=windows), clips, LANGUAGES[:3])
    assert texts(on_gpu(demo, windows=windows), clips, LANGUAGES[:3]) == expected


def test_logits_equal_the_cpu_in_any_batch(on_gpu, tiny: Path) -> None:
    """Rows of one slice of the frontend and of several, whole and cut."""
    random = np.random.default_rng(0)
    segments = [
        Segment(random.normal(size=size).astype(np.float32), language)
        for size, language in [(400, "eng"), (5_000, "swh"), (50_900, "uzb-script_latin")] * 5
    ]
    model, reference = on_gpu(tiny)._model, on_cpu(tiny)._model
    alone = [reference.logits([segment])[0] for segment in segments]
    for batch in (segments, segments[:1], segments[2:14]):
        start = segments.index(batch[0])
        for got, expected in zip(model.logits(batch), alone[start:], strict=False):
            np.testing.assert_allclose(got, expected, atol=3e-2)


def test_runs_are_as_wide_as_their_own_languages(on_gpu, tmp_path: Path) -> None:
    sizes = {"eng": 9, "swh": 70, "uzb-script_latin": 300}
    checkpoint = make_tiny(tmp_path / "hub", TinyOptions(languages=tuple(sizes.items())))
    bundle = bundles.add_plans(bundles.export(str(checkpoint), tmp_path / "bundle"))
    model, reference = on_gpu(bundle)._model, on_cpu(bundle)._model
    clip = read_audio(CLIPS[0]).samples
    for languages, pages in (
        (["uzb-script_latin"], 5),
        (["eng"], 1),
        (["eng", "swh"], 2),
        (["swh", "uzb-script_latin", "eng"], 5),
        (["eng"] * 3, 1),
    ):
        batch = [Segment(clip, language) for language in languages]
        with model.encoder.emission(batch) as emission:
            assert emission.logits.shape[2] == 64 * pages
            made = emission.rows()
        for got, expected in zip(made, reference.logits(batch), strict=True):
            np.testing.assert_allclose(got, expected, atol=3e-2)
    assert len(model.bank.keys) == 3
    clips, codes = [clip, clip, clip], list(sizes)
    few = on_gpu(bundle, adapter_cache_bytes=1)
    assert (few._model.bank.slots, few._model.bank.pages) == (1, 5)
    assert texts(few, clips, codes) == texts(on_cpu(bundle), clips, codes)


def test_model_without_adapters_gives_the_text_and_steps_of_the_cpu(on_gpu, tmp_path) -> None:
    options = TinyOptions(languages=(("eng", 24),))
    checkpoint = make_plain(tmp_path / "plain", options)
    bundle = bundles.export(str(checkpoint), tmp_path / "bundle", "--lang", "eng")
    bundles.add_plans(bundle)
    ours, theirs = on_gpu(bundle), on_cpu(bundle)
    assert "adapters" not in ours._model.bank.storage.arrays
    clips = [str(clip) for clip in CLIPS[:3]]
    expected = texts(theirs, clips, ["eng"] * 3)
    assert texts(ours, clips, ["eng"] * 3) == expected
    assert all(expected)
    sound = read_audio(CLIPS[0]).samples
    assert streamed(ours, sound) == streamed(theirs, sound) != ""


def streamed(recognizer: Recognizer, sound: np.ndarray) -> str:
    with recognizer.stream("eng") as stream:
        events = [*stream.feed(sound), *stream.finish()]
    return " ".join(event.transcript.text for event in events if event.type == "final")


def test_memory_is_constant_over_many_batches(on_gpu, sim, tiny: Path) -> None:
    """Batches of random rows, lengths and languages; MMS_SOAK_BATCHES=10000 for the long run."""
    encoder = on_gpu(tiny, adapter_cache_bytes=1 << 20)._model.encoder
    random = np.random.default_rng(0)
    codes = ["eng", "swh", "uzb-script_latin"]
    noise = random.normal(size=95_000).astype(np.float32)

    def run(rows: int, most: int) -> None:
        sizes, languages = random.integers(400, most, rows), random.choice(codes, rows)
        batch = [
            Segment(noise[:size], str(code)) for size, code in zip(sizes, languages, strict=True)
        ]
        with encoder.emission(batch):
            pass

    run(16, noise.size + 1)  # nothing is larger
    usage = []
    for _ in range(SOAK_BATCHES):
        rows = int(random.choice([1, 2, 3, 4, 16], p=[0.5, 0.2, 0.1, 0.18, 0.02]))
        run(rows, int(random.choice([900, 30_000, noise.size], p=[0.8, 0.15, 0.05])))
        now = sim.usage()
        usage.append((now.allocations, now.bytes, now.host_ranges, now.streams))
        assert now.graphs <= _LANES
    settled = SOAK_BATCHES // 2  # events of the bank's slots come with their first run
    assert len(set(usage[settled:])) == 1
    assert sim.usage().graphs > 0


def test_bank_makes_room_for_a_run(on_gpu, sim, tiny: Path, caplog) -> None:
    recognizer, sounds = on_gpu(tiny), [np.zeros(size, np.float32) for size in (4_000, 9_000)]
    assert recognizer._model.bank.slots == 3
    expected = texts(on_cpu(tiny), sounds, ["eng", "swh"])
    sim.out_of_memory(times=2)
    assert texts(recognizer, sounds, ["eng", "swh"]) == expected
    assert recognizer._model.bank.slots == 1
    assert "the bank of adapters shrinks to 1 slots" in caplog.text
    sim.out_of_memory(times=2)
    with pytest.raises(DeviceMemoryError):
        texts(recognizer, [np.zeros(40_000, np.float32)] * 2, ["eng", "swh"])


def run_beside(model, segment: Segment) -> None:
    """Run a batch in another thread; fail if it has to wait for this one."""
    other = threading.Thread(target=model.logits, args=([segment],), daemon=True)
    other.start()
    other.join(20)
    assert not other.is_alive(), "the device is locked while a file is read"


def test_other_batches_run_while_an_adapter_is_read(on_gpu, tiny: Path, monkeypatch) -> None:
    recognizer = on_gpu(tiny, batch_frames=1)
    model, loaded = recognizer._model, []
    load = model.bank._load

    def read(language: str):
        if language == "swh":
            run_beside(model, Segment(np.zeros(800, np.float32), "eng"))
        loaded.append(language)
        return load(language)

    monkeypatch.setattr(model.bank, "_load", read)
    sounds = [np.zeros(size, np.float32) for size in (8_000, 9_000)]
    assert len(recognizer.transcribe(sounds, ["eng", "swh"])) == 2
    assert loaded == ["eng", "swh"]


@pytest.mark.parametrize(
    ("function", "code", "times"),
    [
        ("cuMemAlloc", 2, 2),  # pycuda tries a second time, after collecting garbage
        ("cuStreamCreate", 1, 1),
        ("cuEventCreate", 1, 1),
        ("cuModuleLoadData", 209, 1),
    ],
)
def test_failed_open_leaves_nothing_behind(
    sim, tiny: Path, function: str, code: int, times: int
) -> None:
    """Whichever call fails, in any thread: sessions, streams, events and memory are freed."""

    def open_and_close() -> bool:
        try:
            recognizer = Recognizer.open(tiny, backend="tensorrt", beam=BeamSearch(beam_size=4))
        except BackendError:
            return False
        recognizer.close()
        return recognizer._decoders is not recognizer._host

    before, failures = sim.usage(), 0
    while True:
        sim.fail(function, nth=failures + 1, times=times, code=code)
        with ThreadPoolExecutor(1) as thread:
            opened = thread.submit(open_and_close).result()
        sim.reset()
        now = sim.usage()
        for name in ("allocations", "bytes", "streams", "events", "operations"):
            assert getattr(now, name) == getattr(before, name), (failures, name)
        if opened:
            break
        failures += 1
    assert failures


def test_closed_model_raises(on_gpu, tiny: Path) -> None:
    recognizer = on_gpu(tiny)
    recognizer._model.vocabulary("eng")
    recognizer.close()
    recognizer.close()
    for language in ("eng", "swh"):  # resident, and not
        with pytest.raises(BackendError, match=r"the model is closed"):
            recognizer._model.logits([Segment(np.zeros(800, np.float32), language)])


def test_auto_skips_a_plan_that_does_not_load(sim, tiny: Path, tmp_path: Path, caplog) -> None:
    folder = shutil.copytree(tiny, tmp_path / "tiny")
    bundles.add_plans(folder, compute_capabilities=("9.0",))
    with Recognizer.open(folder, precision="fp16") as recognizer:
        assert "cpu" in repr(recognizer)
    assert "tensorrt was tried first and cannot run" in caplog.text
    assert "is for compute capability 9.0, this GPU has 8.6" in caplog.text
