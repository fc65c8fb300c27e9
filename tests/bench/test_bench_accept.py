"""Acceptance: comparison with a golden output, here one that transformers makes of the demo."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from mms_bench.acceptance.checks import published
from mms_bench.acceptance.golden import NAME, compare_golden, read_golden
from mms_bench.errors import BenchError
from mms_engine.audio import normalize, read_audio
from mms_export.checkpoints.open import demo_checkpoint
from mms_export.cli import main as export

CLIP = demo_checkpoint().with_name("clips") / "eng_dir-first.flac"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "demo"
    words = ["--model", "demo", "--lang", "eng", "--out", str(out), "--quiet"]
    # As in the golden output's checkpoint, no weight is rounded.
    words += ["--adapter-dtype", "float32", "--precision", "fp32"]
    done = CliRunner().invoke(export, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def golden_folder(tmp_path_factory):
    import torch
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2ForCTC

    path = demo_checkpoint()
    model = Wav2Vec2ForCTC.from_pretrained(
        path, target_lang="eng", ignore_mismatched_sizes=True
    ).eval()
    samples = normalize(read_audio(CLIP).samples)
    with torch.inference_mode():
        logits = model(torch.from_numpy(samples)[None]).logits[0].numpy()
    tokens, top = logits.argmax(axis=1).tolist(), np.argsort(-logits[-1])[:10].tolist()
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(path, target_lang="eng")
    folder = tmp_path_factory.mktemp("golden")
    shutil.copy(CLIP, folder)
    whole = {"generated_tokens": tokens, "generated_text": tokenizer.decode(tokens)}
    last = {"top10_ids": top, "top10_logits": [float(logits[-1, k]).hex() for k in top]}
    for name, content in (("generation", whole), ("lastframe", last)):
        (folder / f"{NAME}_{name}.json").write_text(json.dumps(content))
    return folder


def test_golden_output_is_reproduced(bundle, golden_folder):
    assert compare_golden(bundle, read_golden(golden_folder)) == []


def test_every_difference_is_named(bundle, golden_folder, tmp_path):
    folder = tmp_path / "golden"
    shutil.copytree(golden_folder, folder)
    path = folder / f"{NAME}_generation.json"
    whole = json.loads(path.read_text())
    tokens = whole["generated_tokens"]
    wrong = {"generated_text": "other", "generated_tokens": [tokens[0] + 1] * len(tokens)}
    path.write_text(json.dumps(wrong))
    last = json.loads((folder / f"{NAME}_lastframe.json").read_text())
    last["top10_logits"][9] = (float.fromhex(last["top10_logits"][9]) + 0.1).hex()
    (folder / f"{NAME}_lastframe.json").write_text(json.dumps(last))
    found = compare_golden(bundle, read_golden(folder))
    assert [reason.split(" is ")[0] for reason in found[:1]] == ["the text"]
    assert found[1].endswith("of the frames have the golden token")
    assert found[2].startswith("a logit of the last frame differs by 0.1")
    path.write_text(json.dumps(wrong | {"generated_tokens": tokens[:-1]}))
    assert "frames, not" in compare_golden(bundle, read_golden(folder))[-1]


def test_folder_without_golden_output_is_named(tmp_path):
    with pytest.raises(BenchError, match="holds no golden output"):
        read_golden(tmp_path)


def test_ten_languages_are_published():
    assert len(published()) == 10
    assert all(0 < rate < 1 for rate in published().values())
