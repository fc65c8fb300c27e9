"""Variants of a checkpoint: each gives the text of transformers."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from export_runs import invoke
from mms_engine import Recognizer, Transcript
from mms_engine.audio import read_audio
from mms_engine.bundle import open_bundle
from mms_export.parity.comparison import SPEECH
from mms_export.synthetic import command
from mms_export.variants import VARIANTS

CODES = {"odd-code": "türkçe", "plain": "sw"} | dict.fromkeys(
    (name for name in VARIANTS if name.startswith("aligner")), "mul"
)
SIZES = ("--layers", "2", "--hidden-size", "64", "--channels", "32", "--languages", "3")
SECONDS = 5
# Transformers 5 reads the word delimiter from the constructor only.
DELIMITERS = {"space-delimiter": " "}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "checkpoint"
    given = ["--out", str(folder), "--jobs", "1", *SIZES]
    result = CliRunner().invoke(command.main, given, catch_exceptions=False)
    assert result.exit_code == 0
    return folder


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(SPEECH).samples[: SECONDS * 16000]


def transcribe(bundle: Path, speech: np.ndarray, language: str) -> Transcript:
    with Recognizer.open(bundle, device="cpu") as recognizer:
        return recognizer.transcribe(speech, language)


def expected_text(folder: Path, speech: np.ndarray, variant: str) -> str:
    """Return the text of transformers, without the special tokens that it prints."""
    code = CODES.get(variant, "eng")
    if variant == "byte-order-mark":  # which transformers cannot read
        for path in folder.glob("*.json"):
            path.write_text(path.read_text(encoding="utf-8-sig"), encoding="utf-8")
    own = [path for path in folder.glob("adapter.*.*") if "spa" not in path.name]
    if variant == "odd-code":  # transformers looks for the name as it is spelt
        own[0].rename(own[0].with_name(f"adapter.{code}.safetensors"))
    target = {"target_lang": code} if own else {}
    model = Wav2Vec2ForCTC.from_pretrained(
        folder, ignore_mismatched_sizes=True, dtype=torch.float32, **target
    ).eval()
    settings = {"word_delimiter_token": DELIMITERS[variant]} if variant in DELIMITERS else {}
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(folder)
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    values = extractor(speech, sampling_rate=16000, return_tensors="pt").input_values
    with torch.inference_mode():
        ids = model(values).logits.argmax(-1)[0]
    text = tokenizer.decode(ids)
    special = {*tokenizer.all_special_tokens, "<pad>", "[MASK]"} - {tokenizer.word_delimiter_token}
    for token in special:
        text = text.replace(token, "")
    return text.strip()


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_text_equals_that_of_transformers(original, tmp_path, speech, variant):
    folder = Path(shutil.copytree(original, tmp_path / "checkpoint"))
    path = VARIANTS[variant](folder)
    code = CODES.get(variant, "eng")
    bundle = tmp_path / "bundle"
    given = ("--precision", "fp32", "--adapter-dtype", "float32", "--jobs", "1")
    result = invoke("--model", path, "--out", bundle, *given)
    assert result.exit_code == 0, result.output
    assert open_bundle(bundle).languages == (code,)
    found = transcribe(bundle, speech, code)
    if variant == "odd-code":
        decomposed = unicodedata.normalize("NFD", code)
        assert transcribe(bundle, speech, decomposed).text == found.text
    assert found.text == expected_text(folder, speech, variant)
    assert len(set(found.text)) > 5
    delimiter = "_" if variant == "delimiter-text" else None
    joined = "no-delimiter" in variant or code == "mul"
    words = list(found.text) if joined else found.text.split(delimiter)
    assert [word.text for word in found.words] == [word for word in words if word]


@pytest.mark.parametrize(
    "variant", ["flat-vocab", "pickled", "plain", "processor-config", "trainer"]
)
def test_variant_is_found_in_the_hub_cache(original, tmp_path, monkeypatch, variant):
    repository = tmp_path / "models--nobody--mms-tuned"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(original, snapshot)
    VARIANTS[variant](snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = invoke("--model", "nobody/mms-tuned", "--precision", "fp32", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "adapters (1)" in result.stdout
