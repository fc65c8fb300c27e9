"""First values of a new language, and the base model they are from."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from mms_engine.errors import MmsError
from mms_export.checkpoints.open import demo_checkpoint, open_checkpoint, read_adapter
from mms_export.cli.train import main as mms_train
from mms_export.training.start import FRESH, NEAREST, first_values, nearest_language, open_base
from tiny_models import TinyOptions, make_plain, make_tiny, make_tiny_fairseq

ITALIAN = {"e": 50, "è": 9, "ù": 4, "ò": 5, "z": 9, "|": 40}


def test_nearest_language_spells_most_of_the_text() -> None:
    vocabs = {"aaa": "abcde", "bbb": "abcdefgh", "ccc": "xyz"}
    assert nearest_language(vocabs, {"a": 5, "b": 5, "|": 9, "c": 1}) == "aaa"
    assert nearest_language(vocabs, {"a": 5, "h": 1}) == "bbb"
    assert nearest_language(vocabs, {"x": 5, "a": 4, "<pad>": 99}) == "ccc"


def test_shared_letters_keep_their_rows_and_others_are_random() -> None:
    base = open_checkpoint("demo")
    vocab = base.adapters["ita"].vocab
    tokens = ("<pad>", "<s>", "</s>", "<unk>", "|", "ŋ", "o", "e")
    found = first_values(base, "ita", tokens, seed=1)
    head = torch.from_numpy(read_adapter(base.adapters["ita"], base.config).read("lm_head.weight"))
    new = found["lm_head.weight"]
    for row, letter in enumerate(tokens):
        if letter in vocab:
            assert torch.equal(new[row], head[vocab.index(letter)])
    assert "ŋ" not in vocab
    assert 0 < new[tokens.index("ŋ")].std() < 0.03
    again = first_values(base, "ita", tokens, seed=1)
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_only_the_nearest_language_of_a_hub_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--facebook--mms-tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(demo_checkpoint(), snapshot)
    for code in ("eng", "fra", "rus", "spa"):
        (snapshot / f"adapter.{code}.safetensors").unlink()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert open_base("facebook/mms-tiny", "xyz", NEAREST, ITALIAN)[1] == "ita"
    assert open_base("facebook/mms-tiny", "xyz", FRESH, ITALIAN)[1] == FRESH
    with pytest.raises(MmsError, match="has the language rus already"):
        open_base("facebook/mms-tiny", "rus", NEAREST, ITALIAN)
    with pytest.raises(MmsError, match=r"adapter\.rus\.safetensors of facebook/mms-tiny is not in"):
        open_base("facebook/mms-tiny", "xyz", NEAREST, {"ж": 1})


def test_bases_of_other_layouts_and_without_adapters_are_refused(tmp_path: Path) -> None:
    tiny = make_tiny(tmp_path / "tiny")
    pickled = make_tiny_fairseq(tmp_path / "tiny.pt", tiny)
    plain = make_plain(tmp_path / "plain", TinyOptions())
    for base, message in (
        (pickled, "is in the layout of fairseq: training needs that of transformers"),
        (plain, "has no language adapters"),
    ):
        with pytest.raises(MmsError, match=message):
            open_base(str(base), "xyz", NEAREST, ITALIAN)


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['mms-train', '--help']; from mms_export.cli.train import main\n"
        "try: main()\nfinally: assert not {'torch', 'numpy', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = demo_checkpoint().parent / "clips" / "ita_ss-noservice.flac"
    manifest = tmp_path / "manifest.jsonl"
    lines = [{"audio_filepath": str(clip), "text": "numero", "speaker": who} for who in "ab"]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setitem(sys.modules, "jiwer", None)
    given = [str(manifest), "--base", "demo", "--lang", "xyz", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(mms_train, given)
    assert result.exit_code == 1
    assert "training needs the package jiwer: pip install 'mms-engine[train]'" in result.output
