"""Checkpoints of transformers: facebook/mms-1b-all, fine-tuned adapters, plain CTC models."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from mms_engine.bundle.manifest import UROMAN_LANGUAGE, Wav2Vec2, Wav2Vec2Ctc
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import (
    MMS_LICENCE,
    UNKNOWN_LICENCE,
    AdapterFile,
    Checkpoint,
)
from mms_export.checkpoints.config import OMNILINGUAL_HEADS, is_omnilingual, parse_config
from mms_export.checkpoints.documents import read_json, read_model_card
from mms_export.checkpoints.files import base_model, language_tensors, open_tensors, renamed
from mms_export.checkpoints.folder import find_weights
from mms_export.checkpoints.languages import find_languages
from mms_export.checkpoints.names import adapter_shapes, base_shapes, check_shapes, neutral
from mms_export.checkpoints.selection import ALL
from mms_export.checkpoints.weights import Weights

_SAMPLE_RATES = range(1_000, 768_001)
ZERO_SHOT = "mms-zeroshot"
"""Part of the name of MMS models of romanised text, whose letters could be those of English."""
# Tensors that are used in training only.
IGNORED = ("masked_spec_embed", "quantizer.", "project_q.", "project_hid.")


def open_transformers(path: Path, *, name: str, languages: str) -> Checkpoint:
    """Open a folder with config.json, weights, vocab.json and any `adapter.{lang}.*` files.

    Args:
        path: The folder.
        name: Name of the checkpoint.
        languages: Languages to export, in the syntax of `--lang`. A single code names the language
            of a model that does not name it itself.

    Raises:
        MmsError: a file is missing or contradicts another; the message names it.
    """
    files = find_weights(path)
    document = read_json(path / "config.json")
    preprocessor = read_preprocessor(path)
    document["normalize"] = bool(preprocessor.get("do_normalize", True))
    config = parse_config(document, where=str(path / "config.json"))
    tensors = renamed(open_tensors(files), neutral)
    weights, warnings = _base_tensors(config, tensors, files)
    inner = (language_tensors(tensors), files)
    if languages == ALL and ZERO_SHOT in f"{name} {document.get('_name_or_path')}":
        languages = UROMAN_LANGUAGE
    found = find_languages(path, config, document.get("pad_token_id"), languages, inner)
    if any(file.labels.is_uroman for file in found.adapters.values()):
        # It was trained, and is used everywhere, on waveforms as they are.
        config = msgspec.structs.replace(config, text="uroman", normalize=False)
    elif UROMAN_LANGUAGE in found.adapters and found.adapters[UROMAN_LANGUAGE].labels.is_latin:
        config = msgspec.structs.replace(config, text="uroman")
    _check_conversion(path, config, found.adapters.values())
    card = read_model_card(path)
    is_mms = config.adapter_parameters or config.text == "uroman"
    return Checkpoint(
        name=name,
        format="transformers",
        path=path,
        config=config,
        weights=weights,
        weight_files=tuple(files),
        adapters=dict(sorted(found.adapters.items())),
        unusable=found.unusable,
        warnings=(*warnings, *found.warnings),
        sample_rate=read_sample_rate(preprocessor, path),
        licence=card.get("license", MMS_LICENCE if is_mms else UNKNOWN_LICENCE),
        notice=card.get("notice", ""),
    )


def _check_conversion(path: Path, config: Wav2Vec2Ctc, files: Iterable[AdapterFile]) -> None:
    """Check what conversions of Omnilingual ASR to this layout often have wrong.

    Raises:
        MmsError: the heads or the blank are not those the weights were trained with.
    """
    for file in files:
        if not is_omnilingual(config, file.vocab_size):
            continue
        heads, blank = config.num_attention_heads, file.labels.rows[0]
        if heads != OMNILINGUAL_HEADS or blank != 0:
            raise MmsError(
                f"{path} is a conversion of Omnilingual ASR with {heads} attention heads and blank "
                f"{blank}; the model was trained with {OMNILINGUAL_HEADS} and 0. Correct "
                "num_attention_heads in config.json and pad_token in tokenizer_config.json, or "
                "export the original (omniASR_CTC_...)"
            )


def read_preprocessor(path: Path) -> dict[str, Any]:
    """Return the settings of the feature extractor, of which recent releases nest a copy.

    Raises:
        MmsError: they are missing.
    """
    file, nested = path / "preprocessor_config.json", path / "processor_config.json"
    if nested.is_file():
        settings = read_json(nested).get("feature_extractor")
        if isinstance(settings, dict):
            return settings
    if not file.exists():
        raise MmsError(
            f"{file} is missing: {path} is not an MMS checkpoint without it. Copy it from the "
            "model that this one was trained from"
        )
    return read_json(file)


def read_sample_rate(preprocessor: dict[str, Any], path: Path) -> int:
    """Return the sample rate of the feature extractor, in Hz.

    Raises:
        MmsError: it is not a usable one.
    """
    rate = preprocessor.get("sampling_rate", 16_000)
    if not isinstance(rate, int) or rate not in _SAMPLE_RATES:
        raise MmsError(
            f"{path / 'preprocessor_config.json'}: sampling_rate is {rate!r}, must be "
            f"{_SAMPLE_RATES.start} to {_SAMPLE_RATES.stop - 1} Hz"
        )
    return rate


def _base_tensors(
    config: Wav2Vec2Ctc, tensors: Weights, files: list[Path]
) -> tuple[Weights, list[str]]:
    """Return the tensors of the base model, and a warning of those that it does not use."""
    base, expected = base_model(tensors, IGNORED), base_shapes(config)
    where = str(files[0] if len(files) == 1 else files[0].parent)
    unused = sorted(set(base.shapes) - set(expected))
    shapes = {name: shape for name, shape in base.shapes.items() if name in expected}
    check_shapes(shapes, expected, where=where)
    warnings = []
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        warnings = [f"{where}: not part of the network, ignored: {', '.join(unused[:3])}{more}"]
    return Weights(shapes, base.read), warnings


def read_transformers_adapter(file: AdapterFile, config: Wav2Vec2) -> Weights:
    """Open a language's tensors, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: the tensors are not those of an adapter of this model.
    """
    tensors = language_tensors(renamed(open_tensors(list(file.paths)), neutral))
    check_shapes(tensors.shapes, adapter_shapes(config, len(file.vocab)), where=str(file.path))
    return tensors
