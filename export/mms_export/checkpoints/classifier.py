"""Checkpoints of language identification, such as facebook/mms-lid-126, of transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import MMS_LICENCE, Checkpoint
from mms_export.checkpoints.config import parse_classifier_config
from mms_export.checkpoints.documents import read_json, read_model_card
from mms_export.checkpoints.files import open_tensors, renamed
from mms_export.checkpoints.folder import find_weights
from mms_export.checkpoints.names import check_shapes, classifier_shapes, neutral
from mms_export.checkpoints.selection import ALL, whole_only
from mms_export.checkpoints.transformers import IGNORED, read_preprocessor, read_sample_rate
from mms_export.checkpoints.weights import Weights

ARCHITECTURE = "Wav2Vec2ForSequenceClassification"


def is_classifier(document: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a model of language identification."""
    architectures = document.get("architectures")
    return isinstance(architectures, list) and ARCHITECTURE in architectures


def open_classifier(path: Path, *, name: str, languages: str = ALL) -> Checkpoint:
    """Open a folder with config.json, preprocessor_config.json and weights.

    Args:
        path: The folder.
        name: Name of the checkpoint.
        languages: `all`: the labels of a classifier cannot be divided.

    Raises:
        MmsError: a file is missing or contradicts another; the message names it.
    """
    whole_only(name, languages)
    files = find_weights(path)
    document = read_json(path / "config.json")
    preprocessor = read_preprocessor(path)
    document["normalize"] = bool(preprocessor.get("do_normalize", True))
    config = parse_classifier_config(document, where=str(path / "config.json"))
    tensors = renamed(open_tensors(files), neutral)
    shapes = {key: shape for key, shape in tensors.shapes.items() if not key.startswith(IGNORED)}
    outputs = shapes.get("classifier.weight", (len(config.labels),))[0]
    if outputs != len(config.labels):
        raise MmsError(
            f"{path / 'config.json'}: id2label has {len(config.labels)} labels, the classifier "
            f"{outputs} outputs"
        )
    where = str(files[0] if len(files) == 1 else files[0].parent)
    check_shapes(shapes, classifier_shapes(config), where=where)
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
