"""Recognition on the GPU with every backend that works here, compared with the CPU."""

import jiwer
import numpy as np
import pytest

from gpu.conftest import ON_CUDA, refuse
from mms_engine import BeamSearch, Recognizer, RecognizerOptions
from mms_engine.audio import normalize, read_audio
from mms_engine.backends.registry import BACKENDS, available
from mms_engine.bundle import open_bundle
from mms_engine.cuda.context import open_device
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.loading import load_acoustic_model

pytestmark = pytest.mark.needs_cuda

AGREEMENT = 0.995
"""Share of frames with the CPU's most likely token."""


def options(backend, **given):
    return RecognizerOptions(device="cuda", backend=backend, **given)


def logits(model, clips):
    sounds = [normalize(read_audio(clip.path).samples) for clip in clips]
    return model.logits(
        [Segment(sound, clip.language) for sound, clip in zip(sounds, clips, strict=True)]
    )


def agreement(found, expected):
    same = sum(
        int((a.argmax(1) == b.argmax(1)).sum()) for a, b in zip(found, expected, strict=True)
    )
    return same / sum(len(row) for row in expected)


@pytest.fixture(scope="module")
def cpu_logits(bundle, clips):
    model = load_acoustic_model(
        open_bundle(bundle), RecognizerOptions(device="cpu", precision="fp32")
    )
    yield [logits(model, [clip])[0] for clip in clips]
    model.close()


def test_something_runs_on_the_gpu(gpu):
    states = available()
    if not any(states[name].usable for name in ON_CUDA):
        refuse("; ".join(f"{name}: {states[name].reason}" for name in ON_CUDA))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_logits_are_the_cpus(backend, bundle, clips, cpu_logits, precisions, precision):
    if precision not in precisions:
        pytest.skip(f"this GPU has no {precision}")
    if precision == "fp32" and BACKENDS[backend].runtime is not None:
        pytest.skip("plans are in half precision")
    model = load_acoustic_model(open_bundle(bundle), options(backend, precision=precision))
    try:
        assert model.device == "cuda"
        alone = [logits(model, [clip])[0] for clip in clips]
        mixed = logits(model, clips)
    finally:
        model.close()
    for row in (*alone, *mixed):
        assert not np.isnan(row).any()
    least = AGREEMENT if precision != "bf16" else 0.97
    assert agreement(alone, cpu_logits) >= least
    assert agreement(mixed, cpu_logits) >= least, "in one batch of five languages"
    if precision == "fp32":
        worst = max(np.abs(a - b).max() for a, b in zip(alone, cpu_logits, strict=True))
        assert worst < 2e-2


@pytest.mark.parametrize(
    ("beam", "hotwords"),
    [(None, None), (BeamSearch(), None), (BeamSearch(), {"the": 1.0})],
    ids=["greedy", "beam", "hotwords"],
)
def test_text_is_the_cpus(backend, bundle, clips, beam, hotwords):
    """Hotwords of one call, where the alphabet can write them."""
    clips = clips if hotwords is None else [clip for clip in clips if clip.language == "eng"]
    paths, languages = [clip.path for clip in clips], [clip.language for clip in clips]
    texts = []
    for chosen in (
        RecognizerOptions(device="cpu", precision="fp32", beam=beam),
        options(backend, precision="fp16", beam=beam),
    ):
        with Recognizer.open(bundle, options=chosen) as recognizer:
            found = recognizer.transcribe(paths, languages, hotwords=hotwords)
            texts.append([transcript.text for transcript in found])
    assert jiwer.cer(texts[0], texts[1]) <= 0.01


def test_a_bank_of_one_slot_switches_languages(backend, bundle, clips):
    with Recognizer.open(bundle, options=options(backend, adapter_cache_bytes=1)) as recognizer:
        first = [recognizer.transcribe(clip.path, clip.language).text for clip in clips]
        backwards = [
            recognizer.transcribe(clip.path, clip.language).text for clip in reversed(clips)
        ]
    assert first == backwards[::-1]
    with Recognizer.open(bundle, options=options(backend)) as recognizer:
        assert first == [recognizer.transcribe(clip.path, clip.language).text for clip in clips]


def test_the_same_run_gives_the_same_bits_again(backend, bundle, clips):
    """Runs of one shape may be captured in a CUDA graph and replayed, with others between them."""
    model = load_acoustic_model(open_bundle(bundle), options(backend))
    try:
        expected = {clip.path: logits(model, [clip])[0] for clip in clips[:3]}
        for number in range(30):
            clip = clips[number % 3]
            np.testing.assert_array_equal(logits(model, [clip])[0], expected[clip.path])
    finally:
        model.close()


def test_nothing_of_a_closed_model_stays_on_the_device(backend, bundle, clips, gpu):
    device, free = open_device(), []
    for _ in range(6):
        model = load_acoustic_model(open_bundle(bundle), options(backend))
        logits(model, clips[:2])
        model.close()
        with device.active("testing"):
            free.append(device.driver.mem_get_info()[0])
    # The first rounds load kernels and fill pools; after that nothing may be added.
    assert free[2] - free[-1] < 64 << 20
