"""Checkpoints of transformers, in the layout of facebook/mms-1b-all."""

import json
import re
from pathlib import Path
from typing import Any

from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import MMS_LICENCE, AdapterFile, Checkpoint
from mms_export.checkpoints.config import parse_config
from mms_export.checkpoints.files import base_model, open_tensors, renamed
from mms_export.checkpoints.names import adapter_shapes, base_shapes, check_shapes, neutral
from mms_export.checkpoints.weights import Weights

_ADAPTER = re.compile(r"adapter\.(?P<language>[A-Za-z0-9_-]+)\.(?:safetensors|bin)")
_IGNORED = ("masked_spec_embed",)  # used in training only


def open_transformers(path: Path, *, name: str) -> Checkpoint:
    """Open a folder with config.json, weights, `adapter.{lang}.*` files and a nested vocab.json.

    Raises:
        MmsError: a file is missing or contradicts another; the message names it.
    """
    document = read_json(path / "config.json")
    files = _weight_files(path)
    preprocessor = read_json(path / "preprocessor_config.json")
    document["normalize"] = bool(preprocessor.get("do_normalize", True))
    config = parse_config(document, where=str(path / "config.json"))
    card = _model_card(path)
    return Checkpoint(
        name=name,
        format="transformers",
        path=path,
        config=config,
        weights=_base_tensors(config, files),
        weight_files=tuple(files),
        adapters=_adapters(path),
        sample_rate=int(preprocessor.get("sampling_rate", 16000)),
        licence=card.get("license", MMS_LICENCE),
        notice=card.get("notice", ""),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MmsError: the file is missing or malformed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MmsError(f"{path} is missing: {path.parent} is not an MMS checkpoint") from error
    except (OSError, ValueError) as error:
        raise MmsError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise MmsError(f"{path} holds a {type(document).__name__}, not an object")
    return document


def _weight_files(path: Path) -> list[Path]:
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        single, index = path / f"{stem}.{suffix}", path / f"{stem}.{suffix}.index.json"
        if single.is_file():
            return [single]
        if index.is_file():
            names = sorted(set(read_json(index)["weight_map"].values()))
            shards = [path / name for name in names]
            for shard in shards:
                if shard.parent != path or not shard.is_file():
                    raise MmsError(f"{index} names {shard.name!r}, which is not beside it")
            return shards
    raise MmsError(f"{path} holds neither model.safetensors nor pytorch_model.bin")


def _base_tensors(config: Wav2Vec2Ctc, files: list[Path]) -> Weights:
    tensors = base_model(renamed(open_tensors(files), neutral), _IGNORED)
    where = str(files[0] if len(files) == 1 else files[0].parent)
    check_shapes(tensors.shapes, base_shapes(config), where=where)
    return tensors


def _adapters(path: Path) -> dict[str, AdapterFile]:
    vocabs = read_json(path / "vocab.json")
    found: dict[str, AdapterFile] = {}
    # In reverse order, so that safetensors precedes .bin of the same language.
    for file in sorted(path.glob("adapter.*"), reverse=True):
        match = _ADAPTER.fullmatch(file.name)
        if match and match["language"] not in found:
            language = match["language"]
            vocab = _vocab(vocabs, language, path / "vocab.json")
            found[language] = AdapterFile(language, file, "transformers", vocab)
    if not found:
        raise MmsError(
            f"{path} holds no adapter.{{lang}}.safetensors: there is no language to export"
        )
    return dict(sorted(found.items()))


def _vocab(vocabs: dict[str, Any], language: str, where: Path) -> tuple[str, ...]:
    tokens = vocabs.get(language)
    if not isinstance(tokens, dict):
        raise MmsError(f"{where} has no vocabulary for {language!r}, whose adapter is present")
    if sorted(tokens.values()) != list(range(len(tokens))):
        raise MmsError(f"{where}: the ids of {language!r} are not 0 to {len(tokens) - 1}")
    return tuple(sorted(tokens, key=tokens.__getitem__))


def read_transformers_adapter(file: AdapterFile, config: Wav2Vec2Ctc) -> Weights:
    """Open a language's tensors, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: the tensors are not those of an adapter of this model.
    """
    tensors = renamed(open_tensors([file.path]), neutral)
    check_shapes(tensors.shapes, adapter_shapes(config, len(file.vocab)), where=str(file.path))
    return tensors


def _model_card(path: Path) -> dict[str, str]:
    """Return the `key: value` lines of the model card's front matter."""
    card = path / "README.md"
    if not card.is_file():
        return {}
    parts = card.read_text(encoding="utf-8").split("---", maxsplit=2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    lines = (line.split(":", 1) for line in parts[1].splitlines() if ":" in line)
    return {key.strip(): value.strip().strip("\"'") for key, value in lines if value.strip()}
