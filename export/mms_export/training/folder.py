"""Folder of a trained language, in the layout of facebook/mms-1b-all, whose weights it links to."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from mms_engine.bundle.files import atomic_open
from mms_engine.errors import MmsError
from mms_engine.text.vocabulary import Vocabulary
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.documents import read_json
from mms_export.checkpoints.languages import sidecar_path
from mms_export.checkpoints.tokenizer import BEGIN, BLANK, END, UNKNOWN
from mms_export.checkpoints.transformers import read_preprocessor

_FILES = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
)
_ROLES = {"bos_token": BEGIN, "eos_token": END, "pad_token": BLANK, "unk_token": UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """Description of a trained adapter, beside its file."""

    language: str
    base: str
    """Name of the base model."""
    base_sha256: str
    """Fingerprint of the base model: the adapter works with no other."""
    licence: str
    """That of the base model, of which the adapter is a derivative."""
    start: str
    """Language whose adapter it started from; empty for none."""
    train_minutes: float
    train_clips: int
    train_speakers: int
    """0 if they are unknown."""
    held_out_minutes: float
    held_out_clips: int
    held_out_speakers: int
    held_out_cer: float
    held_out_wer: float
    step: int
    """Updates of the weights after which the adapter was the best."""
    options: dict[str, object]
    """Course of the training."""
    history: list[dict[str, object]]
    """Evaluations on the way, on a part of what is held out."""
    identity: str
    """Digest of everything that the training depended on."""


def check_folder(out: Path, language: str) -> None:
    """Check that a folder holds nothing that `write_folder` would overwrite.

    Raises:
        MmsError: it holds another language, or files of something else.
    """
    is_own = sidecar_path(out / f"adapter.{language}.safetensors").is_file()
    for name in _FILES:
        path = out / name
        # A copy of the base model in the place of the link is not replaced either.
        if path.exists() and not (is_own and (path.suffix == ".json" or path.is_symlink())):
            raise MmsError(
                f"{path} is there already and mms-train has not written it for {language}: choose "
                "another --out"
            )


def write_folder(
    out: Path,
    checkpoint: Checkpoint,
    vocabulary: Vocabulary,
    tensors: dict[str, Tensor],
    sidecar: Sidecar,
) -> None:
    """Write the adapter, its vocabulary, and what transformers and mms-export need to load them.

    The adapter comes last: a folder with it is complete. The sidecar comes first: files beside it
    are this function's.
    """
    language = sidecar.language
    adapter = out / f"adapter.{language}.safetensors"
    _write_json(sidecar_path(adapter), asdict(sidecar))
    for file in _weights(checkpoint):
        link = out / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    vocab = {language: {token: row for row, token in enumerate(vocabulary.tokens)}}
    config = read_json(checkpoint.path / "config.json")
    config |= {"vocab_size": len(vocabulary), "pad_token_id": 0, "bos_token_id": 1}
    _write_json(out / "config.json", config | {"eos_token_id": 2})
    _write_json(out / "vocab.json", vocab)
    tokenizer: dict[str, object] = {"tokenizer_class": "Wav2Vec2CTCTokenizer", **_ROLES}
    tokenizer |= {"target_lang": language, "word_delimiter_token": "|", "do_lower_case": False}
    _write_json(out / "tokenizer_config.json", tokenizer)
    _write_json(out / "special_tokens_map.json", _ROLES)
    _write_json(out / "preprocessor_config.json", read_preprocessor(checkpoint.path))
    if not (out / "README.md").exists():  # which people edit
        _write(out / "README.md", _card(sidecar, checkpoint.notice).encode())
    content = {_hub_name(n): t.detach().to("cpu", torch.float32) for n, t in tensors.items()}
    _write(adapter, save(content, metadata={"format": "pt"}))


def _weights(checkpoint: Checkpoint) -> Iterator[Path]:
    yield from checkpoint.weight_files
    for file in checkpoint.weight_files[:1]:
        yield from file.parent.glob(f"*{file.suffix}.index.json")


def _hub_name(name: str) -> str:
    return name if name.startswith("lm_head.") else f"wav2vec2.{name}"


def _card(sidecar: Sidecar, notice: str) -> str:
    front = {"language": sidecar.language, "license": sidecar.licence, "base_model": sidecar.base}
    if notice:
        front["notice"] = notice
    lines = "\n".join(f"{key}: {value}" for key, value in front.items())
    return (
        f"---\n{lines}\n---\n\n# An MMS adapter for {sidecar.language}\n\nTrained by mms-train.\n"
    )


def _write_json(path: Path, document: dict[str, Any]) -> None:
    _write(path, json.dumps(document, ensure_ascii=False, indent=2).encode())


def _write(path: Path, content: bytes) -> None:
    with atomic_open(path) as stream:
        stream.write(content)
