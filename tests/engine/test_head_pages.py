"""Heads in pages: a run computes its own languages' tokens, with the same bits beside others."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from engine_sounds import sound
from exporting import export
from mms_engine import Recognizer, RecognizerOptions
from mms_engine.audio import normalize
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.interface import CacheView, ContextSizes, StepInput
from tiny_models import TinyOptions, make_tiny

LANGUAGES = (("eng", 9), ("swh", 70), ("cmn-script_simplified", 300))
NARROW, MIDDLE, WIDE = (code for code, _ in LANGUAGES)
HIDDEN = 320
"""Long enough that ONNX Runtime sums a product in parts, which depend on its width."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    hub = make_tiny(folder / "hub", TinyOptions(languages=LANGUAGES, hidden_size=HIDDEN))
    random = np.random.default_rng(0)
    for code, vocab in LANGUAGES:  # heads that find much to say
        path = hub / f"adapter.{code}.safetensors"
        weight = random.normal(size=(vocab, HIDDEN)).astype(np.float32)
        bias = np.zeros(vocab, np.float32)
        save_file(load_file(path) | {"lm_head.weight": weight, "lm_head.bias": bias}, path)
    return export(hub, folder / "bundle", "--precision", "fp32")


@pytest.fixture(scope="module", params=[1, 2], ids=["1 thread", "2 threads"])
def recognizer(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Recognizer]:
    with Recognizer.open(bundle, threads=request.param) as opened:
        yield opened


def segment(language: str, seed: int = 0) -> Segment:
    return Segment(normalize(sound(2, seed)), language)


def test_wide_language_does_not_change_the_bits_of_others(recognizer: Recognizer) -> None:
    model = recognizer.acoustic
    narrow, peer = segment(NARROW), segment(NARROW, seed=1)
    expected = model.logits([narrow, peer])
    assert np.isfinite(expected[0]).all()
    for language in (MIDDLE, WIDE):
        first, other = model.logits([narrow, Segment(peer.samples, language)])
        np.testing.assert_array_equal(first, expected[0])
        last = model.logits([Segment(peer.samples, language), narrow])[1]
        np.testing.assert_array_equal(last, expected[0])
        assert other.shape == (len(expected[1]), dict(LANGUAGES)[language])
        assert np.isfinite(other).all()


def test_wide_language_does_not_change_the_bits_of_a_stream(recognizer: Recognizer) -> None:
    model = recognizer.acoustic
    steps = model.encoder.steps(None)
    features = steps.features([segment(NARROW, seed).samples[:20_000] for seed in (0, 1)])

    def logits(languages: list[str]) -> list[np.ndarray]:
        sizes = ContextSizes(left=50, chunk=32, right=0)
        caches = [steps.cache(sizes) for _ in languages]
        rows = [
            StepInput(own, view=CacheView(cache, 0, slice(0, 32)))
            for own, cache in zip(features, caches, strict=True)
        ]
        return [output.logits for output in steps.encode_cached(rows, languages)]

    expected = logits([NARROW, NARROW])
    for language in (MIDDLE, WIDE):
        first, other = logits([NARROW, language])
        np.testing.assert_array_equal(first, expected[0])
        assert other.shape == (len(expected[1]), dict(LANGUAGES)[language])
        assert np.isfinite(other).all()


def test_run_computes_the_tokens_of_its_own_languages(bundle: Path) -> None:
    with Recognizer.open(bundle) as recognizer:
        encoder = recognizer.acoustic.encoder
        for languages, pages in (
            ([WIDE], 5),
            ([NARROW], 1),
            ([NARROW, MIDDLE], 2),
            ([MIDDLE, WIDE, NARROW], 5),
            ([NARROW, NARROW], 1),
        ):
            with encoder.emission([segment(language) for language in languages]) as emission:
                assert emission.logits.shape[2] == 64 * pages
        assert set(recognizer.acoustic.bank.keys) == {NARROW, MIDDLE, WIDE}


def test_text_is_the_same_in_a_bank_of_few_pages(bundle: Path) -> None:
    audios = [sound(1.5 + 0.3 * seed, seed) for seed in range(6)]
    languages = [code for code, _ in LANGUAGES] * 2
    with Recognizer.open(bundle) as recognizer:
        assert recognizer.acoustic.bank.pages == 1 + 2 + 5
        expected = [one.text for one in recognizer.transcribe(audios, languages)]
    assert len(set(expected)) > 3
    options = RecognizerOptions(adapter_cache_bytes=1)
    with Recognizer.open(bundle, options=options) as recognizer:
        assert (recognizer.acoustic.bank.slots, recognizer.acoustic.bank.pages) == (1, 5)
        assert [one.text for one in recognizer.transcribe(audios, languages)] == expected
