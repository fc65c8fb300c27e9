"""Variants of a checkpoint: the layouts that public recipes and tools leave behind.

Each is an edit of a folder in the layout of facebook/mms-1b-all, of which English is kept.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from mms_export.checkpoints.names import is_language_tensor, neutral
from mms_export.checkpoints.single import ALIGNER_TOKENS

Tensors = dict[str, npt.NDArray[Any]]
_MODEL, _LANGUAGE = "model.safetensors", "eng"
_SILENT = -30.0
"""Bias of a head row that never wins."""
_LOGIT_SCALE, _BLANK_BIAS = 12.0, 24.0
VARIANTS: dict[str, Callable[[Path], Path]] = {}
"""By name: edits a folder in place, and returns the path to export."""


def _variant(edit: Callable[[Path], None]) -> Callable[[Path], None]:
    """Register an edit under its name; the path to export is the folder."""

    def apply(folder: Path) -> Path:
        _keep_english(folder)
        edit(folder)
        return folder

    VARIANTS[edit.__name__.replace("_", "-")] = apply
    return edit


def _pickle(edit: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Register an edit whose path to export is a `.pt` file."""
    VARIANTS[edit.__name__.replace("_", "-")] = edit
    return edit


def _keep_english(folder: Path) -> None:
    for path in folder.glob("adapter.*"):
        if path.name != f"adapter.{_LANGUAGE}.safetensors":
            path.unlink()
    _write(folder / "vocab.json", {_LANGUAGE: _read(folder / "vocab.json")[_LANGUAGE]})
    _edit_heads(folder, _varied)


def _varied(head: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a random head whose tokens win about equally often, the blank more often."""
    if head.ndim == 1:
        return np.where(np.arange(len(head)) == 0, _BLANK_BIAS, 0).astype(np.float32)
    scale = _LOGIT_SCALE * head.shape[1] ** -0.5
    return np.random.default_rng(1).normal(0, scale, head.shape).astype(np.float32)


@_variant
def adapter_file(folder: Path) -> None:
    """Leave the layout of facebook/mms-1b-all."""


@_variant
def recipe(folder: Path) -> None:
    """Lay out an adapter as the fine-tuning recipe does, with two tokens added behind [PAD]."""
    tokens = _recipe_tokens(folder)
    _set_vocab(folder, tokens, pad="[PAD]", unk="[UNK]")
    _add_rows(folder, 2)
    _write(folder / "added_tokens.json", {"<s>": len(tokens), "</s>": len(tokens) + 1})


@_variant
def recipe_without_bounds(folder: Path) -> None:
    """Lay out an adapter as the fine-tuning recipe does, without `<s>` and `</s>`."""
    _set_vocab(folder, _recipe_tokens(folder), pad="[PAD]", unk="[UNK]")
    _edit(folder / "tokenizer_config.json", bos_token=None, eos_token=None)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    _write(folder / "special_tokens_map.json", special)


@_variant
def pad_last(folder: Path) -> None:
    """Move the blank to the last row, under its own name."""
    vocab = _vocab(folder)
    names = sorted(vocab, key=lambda token: (token == "<pad>", vocab[token]))  # noqa: S105
    _set_vocab(folder, {token: token for token in names}, pad="<pad>", unk="<unk>")


@_variant
def trainer(folder: Path) -> None:
    """Keep the adapter among the base weights only."""
    _merge(folder)
    (folder / f"adapter.{_LANGUAGE}.safetensors").unlink()


@_variant
def flat_vocab(folder: Path) -> None:
    """Write the vocabulary without a language."""
    _write(folder / "vocab.json", _vocab(folder))
    _edit(folder / "tokenizer_config.json", target_lang=None)


@_variant
def processor_config(folder: Path) -> None:
    """Nest the settings of the feature extractor."""
    path = folder / "preprocessor_config.json"
    document = {"processor_class": "Wav2Vec2Processor", "feature_extractor": _read(path)}
    _write(folder / "processor_config.json", document)
    path.unlink()


@_variant
def odd_code(folder: Path) -> None:
    """Name the language türkçe, in NFD in the file's name and in NFC in the vocabulary."""
    code = "türkçe"
    path = folder / f"adapter.{_LANGUAGE}.safetensors"
    path.rename(path.with_name(f"adapter.{unicodedata.normalize('NFD', code)}.safetensors"))
    _write(folder / "vocab.json", {unicodedata.normalize("NFC", code): _vocab(folder)})
    _edit(folder / "tokenizer_config.json", target_lang=unicodedata.normalize("NFC", code))


@_variant
def stray_adapters(folder: Path) -> None:
    """Add a truncated adapter, and one without a vocabulary."""
    content = (folder / f"adapter.{_LANGUAGE}.safetensors").read_bytes()
    (folder / "adapter.spa.safetensors").write_bytes(content[:1000])
    (folder / "adapter.tur.safetensors").write_bytes(content)
    vocab = _vocab(folder)
    _write(folder / "vocab.json", {_LANGUAGE: vocab, "spa": vocab})


@_variant
def space_delimiter(folder: Path) -> None:
    """Separate words by the token " ", so that `|` is a letter."""
    vocab = _vocab(folder)
    names = {"|": " ", "e": "|"}
    renamed = {names.get(token, token): index for token, index in vocab.items()}
    _write(folder / "vocab.json", {_LANGUAGE: renamed})
    _edit(folder / "tokenizer_config.json", word_delimiter_token=" ")  # noqa: S106


@_variant
def delimiter_text(folder: Path) -> None:
    """Write the word delimiter as an underscore."""
    _edit(folder / "tokenizer_config.json", replace_word_delimiter_char="_")


@_variant
def no_delimiter_text(folder: Path) -> None:
    """Write words without anything between them."""
    _edit(folder / "tokenizer_config.json", replace_word_delimiter_char="")


@_variant
def padded_head(folder: Path) -> None:
    """Pad the head to more rows than the vocabulary has tokens."""
    _add_rows(folder, 6)


@_variant
def holes(folder: Path) -> None:
    """Leave an id without a token, and give two tokens to another."""
    vocab = _vocab(folder)
    vocab["é"] = vocab["b"]
    del vocab["d"]
    _write(folder / "vocab.json", {_LANGUAGE: vocab})


@_variant
def lower_case(folder: Path) -> None:
    """Spell tokens in capitals, which the tokenizer turns to small letters."""
    upper = {t.upper() if len(t) == 1 else t: index for t, index in _vocab(folder).items()}
    _write(folder / "vocab.json", {_LANGUAGE: upper})
    _edit(folder / "tokenizer_config.json", do_lower_case=True)


@_variant
def added_tokens(folder: Path) -> None:
    """Move two tokens, one of them special, from the vocabulary to the tokenizer's settings."""
    vocab = _vocab(folder)
    *_, letter, special = sorted(vocab, key=vocab.__getitem__)
    entries = {
        str(vocab.pop(letter)): {"content": "sch", "special": False},
        str(vocab.pop(special)): {"content": "[MASK]", "special": True},
        **{str(vocab[t]): {"content": t, "special": True} for t in ("<pad>", "<unk>")},
    }
    _write(folder / "vocab.json", {_LANGUAGE: vocab})
    _edit(folder / "tokenizer_config.json", added_tokens_decoder=entries)


@_variant
def byte_order_mark(folder: Path) -> None:
    """Begin every JSON document with a byte order mark, and write the model card in Latin-1."""
    for path in folder.glob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    card = "---\nlicense: mit\n---\nModelo de español\n"
    (folder / "README.md").write_bytes(card.encode("latin-1"))


@_variant
def sharded(folder: Path) -> None:
    """Divide the base weights between two files."""
    tensors = load_file(folder / _MODEL)
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in (1, 2):
        file = f"model-{number:05d}-of-00002.safetensors"
        part = names[number - 1 :: 2]
        _save({name: tensors[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    _write(folder / f"{_MODEL}.index.json", {"metadata": {}, "weight_map": weight_map})
    (folder / _MODEL).unlink()


@_variant
def bfloat16(folder: Path) -> None:
    """Store weights in bfloat16."""
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        _save({name: t.astype(ml_dtypes.bfloat16) for name, t in tensors.items()}, path)


@_variant
def pickled(folder: Path) -> None:
    """Store weights in torch pickles only."""
    for path in list(folder.glob("*.safetensors")):
        name = "pytorch_model.bin" if path.name == _MODEL else f"{path.stem}.bin"
        _save_pickle(load_file(path), folder / name)
        path.unlink()


@_variant
def plain(folder: Path) -> None:
    """Remove adapters: a `Wav2Vec2ForCTC` with one head, its own names and a model card."""
    _remove_adapters(folder)
    _write(folder / "vocab.json", _vocab(folder))
    _edit(folder / "tokenizer_config.json", target_lang=None)
    (folder / "README.md").write_text("---\nlanguage:\n- sw\nlicense: mit\n---\n", encoding="utf-8")


@_variant
def aligner(folder: Path) -> None:
    """Lay out a model as the MMS aligner on the hub: 31 rows, whose first is `<blank>`."""
    _remove_adapters(folder)
    vocab = {token: row for row, token in enumerate(ALIGNER_TOKENS)}
    tensors = load_file(folder / _MODEL)
    for name in ("lm_head.weight", "lm_head.bias"):
        tensors[name] = np.ascontiguousarray(tensors[name][: len(vocab)])
    _save(tensors, folder / _MODEL)
    _write(folder / "vocab.json", vocab)
    _edit(folder / "tokenizer_config.json", target_lang=None, pad_token="<blank>")  # noqa: S106
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    _edit(folder / "config.json", vocab_size=len(vocab))
    _edit(folder / "preprocessor_config.json", do_normalize=False)


@_pickle
def aligner_torchaudio(folder: Path) -> Path:
    """Store the aligner as torchaudio's state dict."""
    return _save_aligner(folder, _torchaudio_name, lambda tensors: tensors)


@_pickle
def aligner_fairseq(folder: Path) -> Path:
    """Store the aligner as a fairseq checkpoint."""
    return _save_aligner(folder, _fairseq_name, lambda tensors: {"model": tensors})


def _save_aligner(
    folder: Path, rename: Callable[[str], str], wrap: Callable[[Tensors], Mapping[str, Any]]
) -> Path:
    VARIANTS["aligner"](folder)
    tensors = {neutral(name): tensor for name, tensor in load_file(folder / _MODEL).items()}
    tensors.pop("masked_spec_embed", None)
    path = folder / "model.pt"
    _save_pickle(wrap({rename(name): tensor for name, tensor in tensors.items()}), path)
    return path


def _torchaudio_name(name: str) -> str:
    name = name.replace("lm_head.", "aux.")
    if name.startswith("encoder."):
        return f"encoder.transformer.{name.removeprefix('encoder.')}"
    return f"encoder.{name}" if name.startswith("feature_projection.") else name


def _fairseq_name(name: str) -> str:
    if name.startswith("lm_head."):
        return name.replace("lm_head.", "w2v_encoder.proj.")
    for ours, theirs in (
        ("feature_projection.layer_norm.", "layer_norm."),
        ("feature_projection.projection.", "post_extract_proj."),
        ("pos_conv_embed.conv.", "pos_conv.0."),
        (".attention.", ".self_attn."),
        (".feed_forward.intermediate_dense.", ".fc1."),
        (".feed_forward.output_dense.", ".fc2."),
        (".conv.", ".0."),
    ):
        name = name.replace(ours, theirs)
    own_norm = "2.1" if name.startswith("feature_extractor.") else "self_attn_layer_norm"
    if ".layers." in name or name.startswith("feature_extractor."):
        name = name.replace(".layer_norm.", f".{own_norm}.")
    return f"w2v_encoder.w2v_model.{name}"


def _recipe_tokens(folder: Path) -> dict[str, str]:
    """Return the recipe's tokens in their order, each with its name before."""
    letters = sorted(t for t in _vocab(folder) if len(t) == 1 and t != "|")
    return {"|": "|"} | {t: t for t in letters} | {"[UNK]": "<unk>", "[PAD]": "<pad>"}


def _set_vocab(folder: Path, former: Mapping[str, str], *, pad: str, unk: str) -> None:
    """Reorder the head to tokens, given with their names before, and name blank and unknown."""
    vocab = _vocab(folder)
    rows = [vocab[name] for name in former.values()]
    _edit_heads(folder, lambda head: np.ascontiguousarray(head[rows]))
    ids = {token: index for index, token in enumerate(former)}
    _write(folder / "vocab.json", {_LANGUAGE: ids})
    _edit(folder / "tokenizer_config.json", pad_token=pad, unk_token=unk)
    (folder / "special_tokens_map.json").unlink()
    _edit(folder / "config.json", pad_token_id=ids[pad], vocab_size=len(ids))


def _add_rows(folder: Path, count: int) -> None:
    """Add rows to the head that never win."""

    def extend(head: npt.NDArray[Any]) -> npt.NDArray[Any]:
        fill = _SILENT if head.ndim == 1 else 0.0
        return np.concatenate([head, np.full((count, *head.shape[1:]), fill, head.dtype)])

    _edit_heads(folder, extend)
    path = folder / "config.json"
    _edit(path, vocab_size=_read(path)["vocab_size"] + count)


def _edit_heads(folder: Path, edit: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> None:
    """Change the head of the adapter file, and copy the adapter to the base weights."""
    path = folder / f"adapter.{_LANGUAGE}.safetensors"
    tensors = load_file(path)
    for name in ("lm_head.weight", "lm_head.bias"):
        tensors[name] = edit(tensors[name])
    _save(tensors, path)
    _merge(folder)


def _merge(folder: Path) -> None:
    adapter = load_file(folder / f"adapter.{_LANGUAGE}.safetensors")
    _save(load_file(folder / _MODEL) | adapter, folder / _MODEL)


def _remove_adapters(folder: Path) -> None:
    _merge(folder)
    tensors = load_file(folder / _MODEL)
    for name in list(tensors):
        if is_language_tensor(neutral(name)) and not name.startswith("lm_head."):
            del tensors[name]
    _save(tensors, folder / _MODEL)
    (folder / f"adapter.{_LANGUAGE}.safetensors").unlink()
    _edit(folder / "config.json", adapter_attn_dim=None)


def _vocab(folder: Path) -> dict[str, int]:
    vocab: dict[str, int] = _read(folder / "vocab.json")[_LANGUAGE]
    return vocab


def _save(tensors: Tensors, path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})


def _save_pickle(document: Mapping[str, Any], path: Path) -> None:
    import torch

    def to_torch(value: object) -> object:
        if isinstance(value, dict):
            return {name: to_torch(item) for name, item in value.items()}
        return torch.from_numpy(value)

    torch.save(to_torch(document), path)


def _edit(path: Path, **changes: object) -> None:
    _write(path, _read(path) | changes)


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
