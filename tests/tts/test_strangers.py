"""Voices of different sizes in one bundle: each speaks with the graphs of its own."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import VitsModel, VitsTokenizer

from exporting import export
from mms_engine import BackendError, BundleError, SpeechOptions, Synthesizer
from tiny_voices import LETTERS, STRANGER, TINY, make_voice

TEXT = "the quick brown fox jumps over it and over it and over it"
QUIET = SpeechOptions(noise_scale=0, noise_scale_duration=0, short_letters=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices of the same sizes, and one of others, with a larger vocabulary."""
    folder = tmp_path_factory.mktemp("strangers")
    make_voice(folder / "eng", "eng", letters=LETTERS[:29], **TINY)
    make_voice(folder / "swh", "swh", letters=LETTERS[:28], seed=1, **TINY)
    make_voice(folder / "hau", "hau", seed=2, **STRANGER)
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "mixed"
    exact = ("--adapter-dtype", "float32")
    export(folder, out, "--precision", "fp32,int8", "--lang", "eng,swh", *exact)
    export(folder, out, "--lang", "hau", *exact)
    return out


def test_every_voice_speaks_as_transformers(folder: Path, bundle: Path) -> None:
    with Synthesizer.open(bundle, threads=1) as synthesizer:
        assert synthesizer.voices == ("eng", "hau", "swh")
        for code in synthesizer.voices:
            model = VitsModel.from_pretrained(folder / code).eval()
            model.noise_scale = model.noise_scale_duration = 0.0
            tokenizer = VitsTokenizer.from_pretrained(folder / code, pad_token="<pad>")  # noqa: S106
            with torch.no_grad():
                expected = model(**tokenizer(TEXT, return_tensors="pt")).waveform[0].numpy()
            found = synthesizer.synthesize(TEXT, code, options=QUIET).samples
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() < 1e-4
            chunks = [c.samples for c in synthesizer.speak(TEXT, code, options=QUIET)]
            np.testing.assert_array_equal(np.concatenate(chunks), found)


def test_graphs_of_other_sizes_are_opened_on_first_use_and_once(bundle: Path) -> None:
    with Synthesizer.open(bundle, threads=1) as synthesizer:
        models = synthesizer._models
        synthesizer.synthesize(TEXT, "eng")
        assert list(models._models) == [""]
        synthesizer.preload(["hau", "eng", "swh"])
        assert set(models.main.bank.keys) == {"eng", "swh"}
        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(models.of, ["hau"] * 16))) == 1
        assert models.of("hau").bank.keys == ("hau",)
        assert models.of("hau") is not models.main
    with pytest.raises(BackendError, match="closed"):
        synthesizer.synthesize(TEXT, "hau")


def test_closed_synthesizer_opens_no_more_graphs(bundle: Path) -> None:
    synthesizer = Synthesizer.open(bundle, threads=1)
    synthesizer.close()
    with pytest.raises(BackendError, match="the synthesizer is closed"):
        synthesizer.synthesize(TEXT, "hau")


def test_precision_that_a_voice_lacks_is_named_with_the_remedy(bundle: Path) -> None:
    with Synthesizer.open(bundle, threads=1, precision="int8") as synthesizer:
        assert synthesizer.synthesize("a fox", "eng").samples.size
        reason = "has no int8 graphs for the voice hau, only fp32: add them with mms-export"
        with pytest.raises(BundleError, match=reason):
            synthesizer.synthesize("a fox", "hau")
        assert synthesizer.synthesize("a fox", "swh").samples.size
