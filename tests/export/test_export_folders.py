"""Files given in place of a checkpoint: one line names each and what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from export_runs import edit_tensors, invoke
from mms_export.checkpoints.documents import read_model_card


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """Modifiable copy of the tiny checkpoint."""
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


def pointer(name: str) -> Callable[[Path], Path]:
    def spoil(folder: Path) -> Path:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 9\n"
        (folder / name).write_text(text)
        return folder

    return spoil


def only(*names: str) -> Callable[[Path], Path]:
    """Replace the weights by empty files of these names."""

    def spoil(folder: Path) -> Path:
        for path in folder.glob("*.safetensors"):
            path.unlink()
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return folder

    return spoil


def peft(folder: Path) -> Path:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def index_without_shards(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def broken_link(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../../blobs/0123")
    return folder


def edited(name: str, **changes: object) -> Callable[[Path], Path]:
    def spoil(folder: Path) -> Path:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return folder

    return spoil


def pickled_pointer(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    return pointer("pytorch_model.bin")(folder)


def damaged_value(folder: Path) -> Path:
    name = "wav2vec2.encoder.layers.0.feed_forward.output_dense.weight"
    edit_tensors(folder / "model.safetensors", lambda t: t[name][0].fill_(torch.nan))
    return folder


ONE_FILE = "is one file of a checkpoint: give the folder that holds it"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *(
            (pointer(name), f"{name} is a pointer of Git LFS, not the file itself")
            for name in ("model.safetensors", "config.json", "vocab.json", "tokenizer_config.json")
        ),
        (pickled_pointer, "pytorch_model.bin is a pointer of Git LFS"),
        (lambda f: f / "model.safetensors", ONE_FILE),
        (lambda f: f / "adapter.eng.safetensors", ONE_FILE),
        (lambda f: f / "config.json", ONE_FILE),
        (peft, "holds a LoRA adapter of PEFT, not a model: merge it"),
        (only("tf_model.h5"), "holds weights of TensorFlow only (tf_model.h5)"),
        (only("flax_model.msgpack"), "holds weights of Flax only (flax_model.msgpack)"),
        (only(".cache/huggingface/download/x.incomplete"), "is an unfinished download"),
        (only(), "holds neither model.safetensors nor pytorch_model.bin"),
        (index_without_shards, "which is not beside it: the checkpoint is incomplete"),
        (broken_link, "links to a file that is not there"),
        (edited("config.json", feat_extract_norm="group"), "feat_extract_norm is 'group'"),
        (
            edited("tokenizer_config.json", tokenizer_class="Wav2Vec2PhonemeCTCTokenizer"),
            "tokenizer_class is Wav2Vec2PhonemeCTCTokenizer, whose tokens are phonemes",
        ),
        (damaged_value, "values that are not finite in float32: the checkpoint is damaged"),
    ],
)
def test_unusable_source_is_one_line(folder, tmp_path, spoil, message):
    given = ("--model", spoil(folder), "--out", tmp_path / "b", "--precision", "fp32", "--quiet")
    result = invoke(*given, "--jobs", "1")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert message in line
    assert str(folder) in line or "not finite" in line
    assert not list((tmp_path / "b").glob("manifest.json"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: mit\nlanguage:\n- tr\n---\n", {"license": "mit", "language": "tr"}),
        ("---\nlanguage:\n  - tr\n  - en\nlicense: 'x'\n---", {"license": "x"}),
        ("\ufeff---\nlicense: mit\n---\n", {"license": "mit"}),
        ("no front matter", {}),
        ("---\n- loose\n", {}),
    ],
)
def test_model_card(tmp_path, text, expected):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert read_model_card(tmp_path) == expected
