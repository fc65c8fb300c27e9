"""The committed demo voice is what examples/demo/voices/README.md says it is."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from examples.demo.voices.evaluate import (  # noqa: E402
    RECOGNISER_RATE,
    sound_figures,
    voice_readings,
    with_pocketsphinx,
)
from examples.demo.voices.publish import VOICE  # noqa: E402
from examples.demo.voices.text import held_out_sentences  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import VitsModel, VitsTokenizer  # noqa: E402

METRICS = json.loads((VOICE.parent / "metrics.json").read_text(encoding="utf-8"))
MOST_BYTES = 25_000_000
SPOKEN = 10  # of the held-out sentences


@pytest.fixture(scope="module")
def readings():
    sentences = held_out_sentences()[:SPOKEN]
    return sentences, list(voice_readings(VOICE, sentences))


def test_voices_are_small():
    folders = [path for path in VOICE.parent.iterdir() if (path / "config.json").exists()]
    assert VOICE in folders
    files = [file for folder in folders for file in folder.iterdir()]
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


def test_files_are_those_of_the_hub():
    assert {file.name for file in VOICE.iterdir()} == {
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.json",
    }
    with safe_open(VOICE / "model.safetensors", "pt") as tensors:
        assert tensors.metadata() == {"format": "pt"}
        kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    assert kinds == {"F16"}


def test_voice_is_loaded_whole_by_transformers():
    model, report = VitsModel.from_pretrained(VOICE, output_loading_info=True)
    assert not any(report.values())
    assert model.dtype == torch.float32
    assert model.config.use_stochastic_duration_prediction
    assert all(bool(torch.isfinite(weight).all()) for weight in model.state_dict().values())


def test_blank_is_a_letter():
    settings = json.loads((VOICE / "tokenizer_config.json").read_text(encoding="utf-8"))
    vocabulary = json.loads((VOICE / "vocab.json").read_text(encoding="utf-8"))
    expected = {"add_blank": True, "is_uroman": False, "normalize": True, "phonemize": False}
    assert expected.items() <= settings.items()
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert settings["pad_token"] == "k"  # noqa: S105
    assert vocabulary["k"] == 0
    assert set("abcdefghijklmnopqrstuvwxyz' -") == set(vocabulary)
    tokenizer = VitsTokenizer.from_pretrained(VOICE)
    ids = tokenizer("Oak, tea!")["input_ids"]
    assert ids[1::2] == [vocabulary[letter] for letter in "oak tea"]
    assert set(ids[::2]) == {0}


def test_speech_has_no_offset_clipping_or_long_silence(readings):
    figures = sound_figures(readings[1])
    assert figures["largest_offset"] < 0.002
    assert 0.2 < figures["peak"] < 0.99
    assert figures["rms"] > 0.02
    assert figures["longest_silence_seconds"] <= 1.0


def test_speech_is_understood_by_pocketsphinx(readings):
    jiwer = pytest.importorskip("jiwer")
    soxr = pytest.importorskip("soxr")
    pytest.importorskip("pocketsphinx")
    sentences, spoken = readings
    transcribe = with_pocketsphinx()
    rate = VitsModel.from_pretrained(VOICE).config.sampling_rate
    heard = [transcribe(soxr.resample(samples, rate, RECOGNISER_RATE)) for samples in spoken]
    assert jiwer.cer(sentences, heard) <= 0.25
    silence = [np.zeros(len(samples), np.float32) for samples in spoken]
    unheard = [transcribe(soxr.resample(samples, rate, RECOGNISER_RATE)) for samples in silence]
    assert jiwer.cer(sentences, unheard) > 0.8


def test_published_figures_reach_the_bars():
    voice, teacher = (METRICS[reader]["character_error_rate"] for reader in ("voice", "teacher"))
    assert voice["pocketsphinx"] <= 0.25
    assert teacher["pocketsphinx"] <= 0.15
    for reader in ("voice", "teacher"):
        assert METRICS[reader]["sound"]["longest_silence_seconds"] <= 1.0
        assert METRICS[reader]["sound"]["peak"] < 1.0
