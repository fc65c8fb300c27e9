"""The folder of a trained language, read as any checkpoint."""

from pathlib import Path

import pytest
import torch

from mms_engine.errors import MmsError
from mms_engine.text.vocabulary import Vocabulary
from mms_export.checkpoints.open import open_checkpoint, read_adapter
from mms_export.training.folder import Sidecar, check_folder, write_folder
from mms_export.training.start import fresh_tensors

SIDECAR = Sidecar(
    language="xyz",
    base="demo",
    base_sha256="",
    licence="CC-BY-SA-3.0",
    start="",
    train_minutes=1.0,
    train_clips=1,
    train_speakers=1,
    held_out_minutes=1.0,
    held_out_clips=1,
    held_out_speakers=1,
    held_out_cer=0.5,
    held_out_wer=0.5,
    step=1,
    options={},
    history=[],
    identity="",
)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


@pytest.mark.parametrize(
    "vocabulary",
    [
        Vocabulary((*SPECIAL, "|", "a", "ng", "ŋ", "ʼ")),
        Vocabulary((*SPECIAL, "ก", "ng", "า"), word_delimiter=None),
    ],
    ids=["words", "no spaces"],
)
def test_vocabulary_and_tensors_come_back(vocabulary: Vocabulary, tmp_path: Path) -> None:
    base = open_checkpoint("demo")
    tensors = fresh_tensors(base.config, len(vocabulary), torch.Generator().manual_seed(5))
    write_folder(tmp_path, base, vocabulary, tensors, SIDECAR)
    found = open_checkpoint(str(tmp_path))
    (file,) = found.adapters.values()
    assert (file.language, file.labels.tokens) == ("xyz", vocabulary.tokens)
    assert file.labels.word_delimiter == vocabulary.word_delimiter
    assert (found.licence, found.notice) == (base.licence, base.notice)
    weights = read_adapter(file, found.config)
    for name, tensor in tensors.items():
        assert torch.equal(torch.from_numpy(weights.read(name)), tensor)


def test_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    check_folder(tmp_path, "xyz")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MmsError, match=r"config.json is there already and mms-train has not"):
        check_folder(tmp_path, "xyz")


def test_only_its_own_links_are_replaced(tmp_path: Path) -> None:
    base, vocabulary = open_checkpoint("demo"), Vocabulary((*SPECIAL, "|", "a"))
    tensors = fresh_tensors(base.config, len(vocabulary), torch.Generator())
    for _ in range(2):
        write_folder(tmp_path, base, vocabulary, tensors, SIDECAR)
        check_folder(tmp_path, "xyz")
    with pytest.raises(MmsError, match=r"config.json is there already"):
        check_folder(tmp_path, "abc")
    model = tmp_path / "model.safetensors"
    content = model.read_bytes()
    model.unlink()
    model.write_bytes(content)
    with pytest.raises(MmsError, match=r"model.safetensors is there already"):
        check_folder(tmp_path, "xyz")
