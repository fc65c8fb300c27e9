"""Checkpoints of torchaudio: the state dict of a `Wav2Vec2Model`, such as that of `MMS_FA`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.checkpoint import AdapterFile, Checkpoint
from mms_export.checkpoints.files import base_model, language_tensors, renamed, tensors_of
from mms_export.checkpoints.names import adapter_shapes, base_shapes, check_shapes, neutral
from mms_export.checkpoints.pickled_config import pickled_config
from mms_export.checkpoints.single import single_language
from mms_export.checkpoints.weights import Weights

_PREFIXES = (
    ("aux.", "lm_head."),
    ("encoder.feature_projection.", "feature_projection."),
    ("encoder.transformer.", "encoder."),
)
_HEAD = "aux.weight"
_WRAPPER = "model."
"""Prefix of the names in a model that `Wav2Vec2FABundle.get_model` returns."""


def is_torchaudio(document: Mapping[str, Any]) -> bool:
    """Whether a pickle is a state dict of torchaudio with a head."""
    return _HEAD in document or f"{_WRAPPER}{_HEAD}" in document


def open_torchaudio(path: Path, document: Mapping[str, Any], languages: str) -> Checkpoint:
    """Open a `.pt` file such as that of `torchaudio.pipelines.MMS_FA`.

    The number of attention heads, which a state dict does not show, is that of MMS.

    Args:
        path: The file.
        document: Its content.
        languages: Languages to export, in the syntax of `--lang`.

    Raises:
        MmsError: the tensors are not those of wav2vec 2.0 with CTC, or the tokens are unknown.
    """
    opened = renamed(tensors_of(document, where=str(path)), _neutral_name)
    tensors = base_model(opened, ())
    config = pickled_config({}, tensors, path)
    check_shapes(tensors.shapes, base_shapes(config), where=str(path))
    head = language_tensors(opened)
    return single_language(
        path, "torchaudio", config, tensors, head, symbols=None, languages=languages
    )


def read_torchaudio_head(
    file: AdapterFile, document: Mapping[str, Any], config: Wav2Vec2
) -> Weights:
    """Open the head of a `.pt` file, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: the tensors are not those of a head of this model.
    """
    head = language_tensors(renamed(tensors_of(document, where=str(file.path)), _neutral_name))
    check_shapes(head.shapes, adapter_shapes(config, len(file.vocab)), where=str(file.path))
    return head


def _neutral_name(name: str) -> str:
    name = name.removeprefix(_WRAPPER)
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return neutral(ours + name.removeprefix(theirs))
    return neutral(name)
