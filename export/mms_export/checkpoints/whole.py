"""Checkpoints of transformers that are exported as a whole, without languages to choose.

Language identification, such as facebook/mms-lid-126, and pretrained networks without a head, such
as facebook/mms-300m.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_engine.bundle.manifest import Wav2Vec2Classifier, Wav2Vec2Pretrained
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import MMS_LICENCE, Checkpoint
from mms_export.checkpoints.config import parse_classifier_config, parse_pretrained_config
from mms_export.checkpoints.documents import read_json, read_model_card
from mms_export.checkpoints.files import open_tensors, renamed
from mms_export.checkpoints.folder import find_weights
from mms_export.checkpoints.names import (
    Shapes,
    check_shapes,
    classifier_shapes,
    neutral,
    pretrained_shapes,
)
from mms_export.checkpoints.selection import ALL, whole_only
from mms_export.checkpoints.transformers import IGNORED, read_preprocessor, read_sample_rate
from mms_export.checkpoints.weights import Weights

CLASSIFIER = "Wav2Vec2ForSequenceClassification"
PRETRAINED = ("Wav2Vec2ForPreTraining", "Wav2Vec2Model")
_Config = Wav2Vec2Classifier | Wav2Vec2Pretrained


@dataclass(frozen=True, slots=True)
class _Kind:
    """Kind of model that has no languages to choose."""

    name: str
    read: Callable[[Mapping[str, Any], Mapping[str, tuple[int, ...]], str], tuple[_Config, Shapes]]
    """Returns the config of a document and the shapes it requires, from those found in a file."""


def is_whole(document: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a model that is exported as a whole."""
    return _kind(document) is not None


def _kind(document: Mapping[str, Any]) -> _Kind | None:
    architectures = document.get("architectures")
    for name in architectures if isinstance(architectures, list) else ():
        if isinstance(name, str) and name in _KINDS:
            return _KINDS[name]
    return None


def open_whole(path: Path, *, name: str, languages: str = ALL) -> Checkpoint:
    """Open a folder with config.json, preprocessor_config.json and weights.

    Args:
        path: The folder, for whose config.json `is_whole` is true.
        name: Name of the checkpoint.
        languages: `all`: there are none to choose.

    Raises:
        MmsError: a file is missing or contradicts another; the message names it.
    """
    document = read_json(path / "config.json")
    kind = _kind(document)
    if kind is None:
        raise MmsError(f"{path / 'config.json'} names no model that is exported as a whole")
    whole_only(name, kind.name, languages)
    files = find_weights(path)
    preprocessor = read_preprocessor(path)
    document["normalize"] = bool(preprocessor.get("do_normalize", True))
    tensors = renamed(open_tensors(files), neutral)
    shapes = {key: shape for key, shape in tensors.shapes.items() if not key.startswith(IGNORED)}
    config, required = kind.read(document, shapes, str(path / "config.json"))
    where = str(files[0] if len(files) == 1 else files[0].parent)
    check_shapes(shapes, required, where=where)
    card = read_model_card(path)
    return Checkpoint(
        name=name,
        format="transformers",
        path=path,
        config=config,
        weights=Weights(shapes, tensors.read),
        weight_files=tuple(files),
        adapters={},
        sample_rate=read_sample_rate(preprocessor, path),
        licence=card.get("license", MMS_LICENCE),
        notice=card.get("notice", ""),
    )


def _read_classifier(
    document: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: str
) -> tuple[_Config, Shapes]:
    config = parse_classifier_config(document, where=where)
    outputs = shapes.get("classifier.weight", (len(config.labels),))[0]
    if outputs != len(config.labels):
        raise MmsError(
            f"{where}: id2label has {len(config.labels)} labels, the classifier {outputs} outputs"
        )
    return config, classifier_shapes(config)


def _read_pretrained(
    document: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: str
) -> tuple[_Config, Shapes]:
    del shapes
    config = parse_pretrained_config(document, where=where)
    return config, pretrained_shapes(config)


_KINDS: dict[str, _Kind] = {
    CLASSIFIER: _Kind("a model of language identification", _read_classifier),
    **dict.fromkeys(PRETRAINED, _Kind("a pretrained model without a head", _read_pretrained)),
}
